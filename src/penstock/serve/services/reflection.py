"""Stage 4, serve: server reflection, so that grpcurl and its like know the services without their .proto files.

Comes in: a question about a file, a symbol or the list of services. Goes out: descriptors, as they were compiled.
Versions v1 and v1alpha differ in nothing but their name. Source: doc/server-reflection.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import DecodeError

from penstock.errors import InvalidInput, NotFound
from penstock.serve.calls import Call, Reply
from penstock.serve.cards import Catalogue
from penstock.serve.protocol import STRICT, Manner, Operation, Prediction, Request
from penstock.serve.protos.messages import FILES, POOL, Message, message
from penstock.serve.service import CONTENT_TYPE, METHOD, NOT_FOUND, UNIMPLEMENTED, Rpc, Service
from penstock.tensors import Signature

SERVED = (
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "inference.GRPCInferenceService",
    "tensorflow.serving.ModelService",
    "tensorflow.serving.PredictionService",
)
_PATHS = {f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo": version for version in ("v1", "v1alpha")}


class ReflectionService(Service):
    """``grpc.reflection.v1.ServerReflection`` and its older name."""

    def __init__(self, manner: Manner = STRICT) -> None:
        super().__init__(manner)
        self.rpcs = {path: Rpc(_always(path), "each") for path in _PATHS}
        self._kinds = {path: _kinds(f"grpc.reflection.{version}") for path, version in _PATHS.items()}

    def match(self, method: str, path: str) -> Operation | None:
        """Both versions ask the same."""
        return Operation("server") if method == METHOD and path in _PATHS else None

    def decode(self, call: Call, signature: Signature) -> Request:
        """There are no predictions here."""
        raise NotFound("descriptors are not predicted", "call ServerReflectionInfo")

    def encode(self, request: Request, prediction: Prediction) -> Reply:
        """There are no predictions here."""
        raise NotFound("descriptors are not predicted", "call ServerReflectionInfo")

    def describe(self, operation: Operation, catalogue: Catalogue, call: Call) -> Reply:
        """The answer to one question; what is not known is an answer, too."""
        asked_kind, answer_kind = self._kinds[call.path]
        try:
            asked = asked_kind.FromString(call.body)
        except DecodeError:
            raise InvalidInput("this is no reflection request", "see the .proto", code="input.malformed") from None
        answer = answer_kind(valid_host=asked.host, original_request=asked)
        question = asked.WhichOneof("message_request")
        if question == "list_services":
            for name in SERVED:
                answer.list_services_response.service.add(name=name)
        elif question in ("file_by_filename", "file_containing_symbol"):
            files = _files(getattr(asked, question), by_name=question == "file_by_filename")
            answer.file_descriptor_response.file_descriptor_proto.extend(files)
            if not files:
                _say(answer.error_response, NOT_FOUND, "there is no such file or symbol")
        elif question in ("file_containing_extension", "all_extension_numbers_of_type"):
            _say(answer.error_response, NOT_FOUND, "there are no extensions")
        else:
            _say(answer.error_response, UNIMPLEMENTED, "this question is not known")
        return Reply(0, answer.SerializeToString(), CONTENT_TYPE)


def _always(path: str) -> Callable[[bytes], str]:
    return lambda _: path


def _kinds(package: str) -> tuple[Message, Message]:
    return message(f"{package}.ServerReflectionRequest"), message(f"{package}.ServerReflectionResponse")


def _say(error: Message, code: int, text: str) -> None:
    error.error_code = code
    error.error_message = text


def _files(name: str, *, by_name: bool) -> list[bytes]:
    """A file by its name, or by a symbol in it, and the files that it imports."""
    try:
        file = POOL.FindFileByName(name) if by_name else POOL.FindFileContainingSymbol(name)
    except KeyError:
        return []
    return [FILES[one] for one in _with_imports([file])]


def _with_imports(files: Iterable[FileDescriptor]) -> dict[str, None]:
    found: dict[str, None] = {}
    for file in files:
        found[file.name] = None
        found.update(_with_imports(file.dependencies))
    return found
