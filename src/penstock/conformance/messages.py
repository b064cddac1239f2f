"""The protocol's gRPC messages for the conformance kit, from ``protos/open_inference.binpb``.

A copy of its own, after the specification and not after what serves here: a judge who read the field numbers from the
defendant would find every wrong one right. A pool of its own, since protobuf knows one message of a name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

MessageType = Any
"""A message's class: made at run time, so that no type checker can know its fields."""
SERVICE = "inference.GRPCInferenceService"
COMPILED = Path(__file__).parent / "protos" / "open_inference.binpb"


class Method(NamedTuple):
    """A method of gRPC.

    Attributes:
        path: As it goes over the wire.
        asked: Class of its request.
        told: Class of its answer.
        streams: Both sides are streams.
    """

    path: str
    asked: MessageType
    told: MessageType
    streams: bool


def methods() -> dict[str, Method]:
    """By name; those of another service than inference by its full name, a slash and theirs."""
    pool = descriptor_pool.DescriptorPool()
    files = descriptor_pb2.FileDescriptorSet.FromString(COMPILED.read_bytes()).file
    for file in files:
        pool.AddSerializedFile(file.SerializeToString())
    found: dict[str, Method] = {}
    for file in files:
        for service in file.service:
            name = f"{file.package}.{service.name}"
            for method in pool.FindServiceByName(name).methods:
                found[method.name if name == SERVICE else f"{name}/{method.name}"] = Method(
                    f"/{name}/{method.name}",
                    message_factory.GetMessageClass(method.input_type),
                    message_factory.GetMessageClass(method.output_type),
                    bool(method.client_streaming),
                )
    return found
