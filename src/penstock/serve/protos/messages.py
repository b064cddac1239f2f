"""Stage 4, serve: the messages of the gRPC services, made from the compiled .proto files beside this one.

services.binpb -> a descriptor pool of our own -> message classes

A pool of our own because protobuf knows one message of a name: a program that serves and also loads a client's
generated code (every client ships its own copy of the Open Inference Protocol) would not start otherwise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Message = Any
"""A message or its class: they are made at run time, so that no type checker can know their fields."""
_COMPILED = Path(__file__).with_name("services.binpb")


def _load() -> tuple[descriptor_pool.DescriptorPool, dict[str, bytes]]:
    """The pool, and each file's own descriptor as reflection hands it out."""
    pool = descriptor_pool.DescriptorPool()
    files: dict[str, bytes] = {}
    for file in descriptor_pb2.FileDescriptorSet.FromString(_COMPILED.read_bytes()).file:
        files[file.name] = file.SerializeToString()
        pool.AddSerializedFile(files[file.name])
    return pool, files


POOL, FILES = _load()


def message(name: str) -> Message:
    """The class of a message, by its full name."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(name))


def requests(service: str) -> dict[str, Message]:
    """The request class of each of a service's methods, by the method's name."""
    methods = POOL.FindServiceByName(service).methods
    return {method.name: message_factory.GetMessageClass(method.input_type) for method in methods}


def responses(service: str) -> dict[str, Message]:
    """The response class of each of a service's methods, by the method's name."""
    methods = POOL.FindServiceByName(service).methods
    return {method.name: message_factory.GetMessageClass(method.output_type) for method in methods}
