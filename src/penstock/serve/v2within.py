"""Stage 4, serve: requests of the V2 protocol where another dialect's path carries them.

Comes in: a body that V2 reads, JSON or JSON with raw tensors behind it (its length in the media type, as Triton's
containers on SageMaker and Vertex AI have it). Goes out: V2's answer under the media type of the platform.
"""

from __future__ import annotations

from typing import cast

import msgspec

from penstock.adapters import load
from penstock.serve.calls import Call, Reply
from penstock.serve.mediatypes import MediaType
from penstock.serve.protocol import Manner, Prediction, Request, ServingProtocol
from penstock.tensors import Signature

_SIZE = "json-header-size"
_LENGTH = b"inference-header-content-length"
_LOOK_BYTES = 4096


class _V2Form(msgspec.Struct, frozen=True):
    """A request that V2 answers.

    Attributes:
        form: V2's own.
        echo: Header lines that go back.
    """

    form: object
    echo: bytes


def is_v2(body: bytes) -> bool:
    """Whether JSON is a request of V2: its inputs are a list of objects with datatypes."""
    head = body[:_LOOK_BYTES]
    at = head.find(b'"inputs"')
    start = head[at + 8 :].lstrip().removeprefix(b":").lstrip() if at >= 0 else b""
    return start[:1] == b"[" and start[1:].lstrip()[:1] == b"{" and b'"datatype"' in head


class V2Within:
    """Reads and answers them by the V2 dialect.

    Args:
        manner: As the dialect around it was given.
        media: The platform's name of JSON with raw tensors behind it.
    """

    def __init__(self, manner: Manner, media: str) -> None:
        self._protocol = cast("ServingProtocol", load("protocol", "v2")(manner))
        self._media = media

    def decode(self, call: Call, kind: MediaType, signature: Signature, echo: bytes = b"") -> Request:
        """The request.

        Raises:
            InvalidInput: With the field's path.
        """
        size = kind.parameters.get(_SIZE)
        if kind.name == self._media and size is not None:
            call = msgspec.structs.replace(call, headers=call.headers | {_LENGTH: size.encode()})
        request = self._protocol.decode(call, signature)
        return msgspec.structs.replace(request, form=_V2Form(request.form, echo))

    def encode(self, request: Request, prediction: Prediction) -> Reply | None:
        """Its answer; None where V2 did not read it."""
        asked = request.form
        if not isinstance(asked, _V2Form):
            return None
        reply = self._protocol.encode(msgspec.structs.replace(request, form=asked.form), prediction)
        lines = reply.headers.splitlines(keepends=True)
        length = next((line.partition(b":")[2].strip() for line in lines if line.startswith(_LENGTH)), b"")
        if not length:
            return msgspec.structs.replace(reply, headers=asked.echo)
        return msgspec.structs.replace(
            reply, content_type=b"%b;%b=%b" % (self._media.encode(), _SIZE.encode(), length), headers=asked.echo
        )
