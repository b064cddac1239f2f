"""The kit's messages are compiled from its .proto files, and numbered as other people's clients number them."""

from __future__ import annotations

import subprocess
import sys

import pytest
from google.protobuf import descriptor_pb2

from penstock.conformance.messages import COMPILED, methods

CORE = ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer")


def test_the_descriptor_is_compiled_from_the_files(tmp_path) -> None:
    pytest.importorskip("grpc_tools")
    made = tmp_path / "made.binpb"
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", "--include_imports", f"--descriptor_set_out={made}"]
    subprocess.run([*command, "open_inference.proto", "health.proto"], cwd=COMPILED.parent, check=True)
    kept = descriptor_pb2.FileDescriptorSet.FromString(COMPILED.read_bytes())
    assert kept == descriptor_pb2.FileDescriptorSet.FromString(made.read_bytes())


def test_a_foreign_client_numbers_the_same_fields_the_same() -> None:
    theirs = pytest.importorskip("tritonclient.grpc.service_pb2").DESCRIPTOR.services_by_name["GRPCInferenceService"]
    seen: set[str] = set()
    for name in CORE:
        method = theirs.methods_by_name[name]
        _same(methods()[name].asked.DESCRIPTOR, method.input_type, seen)
        _same(methods()[name].told.DESCRIPTOR, method.output_type, seen)
    assert "inference.ModelInferRequest.InferInputTensor" in seen


def _same(ours, theirs, seen: set[str]) -> None:
    if ours.full_name in seen:
        return
    seen.add(ours.full_name)
    assert {field.number for field in ours.fields} == {field.number for field in theirs.fields}
    for field in ours.fields:
        other = theirs.fields_by_number[field.number]
        assert (other.name, other.type, other.is_repeated) == (field.name, field.type, field.is_repeated)
        if field.message_type is not None:
            _same(field.message_type, other.message_type, seen)
