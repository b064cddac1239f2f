"""The compiled descriptors are what the .proto files say, and agree with the clients' own on the wire."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

import penstock.serve.protos
from penstock.serve.protos.messages import POOL, requests, responses
from penstock.serve.service import Service
from penstock.serve.services.inference import NAME, InferenceService
from penstock.serve.services.reflection import SERVED
from penstock.serve.services.tfserving import MODEL, PREDICTION, TfServingService

FOLDER = Path(penstock.serve.protos.__file__).parent
FILES = ("inference.proto", "health.proto", "reflection.proto", "reflection_v1alpha.proto", "tensorflow_serving.proto")


def test_the_descriptors_are_compiled_from_the_files(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools")
    made = tmp_path / "made.binpb"
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", "--include_imports", f"--descriptor_set_out={made}"]
    subprocess.run([*command, *FILES], cwd=FOLDER, check=True)
    kept = descriptor_pb2.FileDescriptorSet.FromString((FOLDER / "services.binpb").read_bytes())
    assert kept == descriptor_pb2.FileDescriptorSet.FromString(made.read_bytes())


@pytest.mark.parametrize(("names", "service"), [((NAME,), InferenceService), ((PREDICTION, MODEL), TfServingService)])
def test_every_method_is_answered(names: tuple[str, ...], service: type[Service]) -> None:
    methods = {f"/{name}/{method.name}" for name in names for method in POOL.FindServiceByName(name).methods}
    assert set(service().rpcs) == methods
    assert set(names) <= set(SERVED)


def test_triton_numbers_and_types_its_fields_the_same() -> None:
    theirs = pytest.importorskip("tritonclient.grpc.service_pb2").DESCRIPTOR.services_by_name["GRPCInferenceService"]
    ours = {"in": requests(NAME), "out": responses(NAME)}
    for name in requests(NAME):
        method = theirs.methods_by_name[name]
        _same(ours["in"][name].DESCRIPTOR, method.input_type, set())
        _same(ours["out"][name].DESCRIPTOR, method.output_type, set())


KSERVE_ONLY = {"RepositoryModelLoadResponse", "RepositoryModelUnloadResponse"}


def _same(ours: object, theirs: object, seen: set[str]) -> None:
    if ours.full_name in seen or ours.name in KSERVE_ONLY:
        return
    seen.add(ours.full_name)
    for field in ours.fields:
        other = theirs.fields_by_number.get(field.number)
        assert other is not None, f"{ours.full_name}.{field.name}"
        assert (other.name, other.type, other.is_repeated) == (field.name, field.type, field.is_repeated)
        if field.message_type is not None:
            _same(field.message_type, other.message_type, seen)
