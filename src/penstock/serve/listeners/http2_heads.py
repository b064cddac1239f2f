"""Stage 4, serve: HTTP/2 header blocks: compressed bytes to a checked request head (RFC 7541; RFC 9113, 8.2 and 8.3).

A client that keeps its connection sends the same block again and again. A block that left the compression table as it
was means the same as long as the table stays so: it is looked up instead of decoded. Any block that changes the table
empties the look-up, because what indexes mean has moved.
"""

from __future__ import annotations

import re

from hpack import Decoder, HPACKError, OversizedHeaderListError
from hpack.table import HeaderTable

from penstock.serve.listeners.http2_frames import (
    COMPRESSION_ERROR,
    END_HEADERS,
    ENHANCE_YOUR_CALM,
    PROTOCOL_ERROR,
    ConnectionFault,
)
from penstock.serve.listeners.http2_limits import Http2Limits

MOST = 16
MOST_BYTES = 2048
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_VALUE = re.compile(rb"(?:[^\x00\r\n\t ](?:[^\x00\r\n]*[^\x00\r\n\t ])?)?", re.DOTALL)
_PSEUDO = frozenset({b":method", b":scheme", b":path", b":authority"})
_HOP = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"})
_ALONE = frozenset({b"content-length", b"host", b"authorization", b"grpc-timeout", b"grpc-encoding", b"content-type"})


class RequestHead:
    """What a header block says.

    Attributes:
        headers: The regular ones; shared by all requests that have this block, nobody changes them.
        malformed: It breaks section 8.2 or 8.3: its stream is reset.
        plan: What the listener made of it, kept with it.
    """

    __slots__ = ("headers", "malformed", "method", "path", "plan")

    def __init__(self, fields: list[tuple[bytes, bytes]]) -> None:
        self.headers: dict[bytes, bytes] = {}
        self.malformed = False
        self.plan: object = None
        pseudo: dict[bytes, bytes] = {}
        for name, value in fields:
            if name[:1] == b":":
                self.malformed |= name not in _PSEUDO or name in pseudo or bool(self.headers)
                pseudo[name] = value
            else:
                self._take(name, value)
        self.method = pseudo.get(b":method", b"")
        self.path = pseudo.get(b":path", b"")
        if not self.method or not pseudo.get(b":scheme") or self.path[:1] != b"/":
            self.malformed = True
        if not all(_VALUE.fullmatch(value) for value in pseudo.values()):
            self.malformed = True

    def _take(self, name: bytes, value: bytes) -> None:
        headers = self.headers
        broken = not _NAME.fullmatch(name) or not _VALUE.fullmatch(value) or name in _HOP
        if broken or (name == b"te" and value != b"trailers") or (name in headers and name in _ALONE):
            self.malformed = True
        elif name in headers:
            headers[name] += b"," + value
        else:
            headers[name] = value


class HeadParts:
    """A header block that comes in several frames, bounded in number and size before anything is decoded.

    Args:
        limits: Of a connection.

    Attributes:
        pending: It is not whole.
        flags: Of its first frame.
    """

    __slots__ = ("_frames", "_limits", "_number", "_parts", "_size", "flags", "pending")

    def __init__(self, limits: Http2Limits) -> None:
        self._limits = limits
        self._parts: list[bytes] = []
        self._number = self._frames = self._size = 0
        self.flags = 0
        self.pending = False

    def begin(self, number: int, flags: int, part: bytes) -> None:
        """HEADERS of a stream, not the block's end."""
        self._parts, self._number, self._frames, self._size = [part], number, 0, len(part)
        self.flags, self.pending = flags, True

    def add(self, number: int, flags: int, part: bytes) -> bytes | None:
        """CONTINUATION; the whole block at its end.

        Raises:
            ConnectionFault: Of no block, of another stream's, or too much.
        """
        if not self.pending or number != self._number:
            raise ConnectionFault(PROTOCOL_ERROR, "CONTINUATION of no header block")
        self._parts.append(part)
        self._frames += 1
        self._size += len(part)
        if self._frames > self._limits.continuations or self._size > self._limits.head_bytes:
            raise ConnectionFault(ENHANCE_YOUR_CALM, "the header block is too large")
        if not flags & END_HEADERS:
            return None
        block, self._parts, self.pending = b"".join(self._parts), [], False
        return block


class _CountedTable(HeaderTable):
    """The compression table, which says how often something was added."""

    def __init__(self) -> None:
        super().__init__()
        self.changes = 0

    def add(self, name: bytes, value: bytes) -> None:
        self.changes += 1
        super().add(name, value)


class HeaderBlocks:
    """One connection's compression state, and the blocks that can be looked up.

    Args:
        most_bytes: Of a decoded header list, 32 bytes a field included.

    Attributes:
        known: Heads by their blocks, as long as the table stays as it is.
    """

    __slots__ = ("_decoder", "_table", "known")

    def __init__(self, most_bytes: int) -> None:
        self._decoder = Decoder(most_bytes)
        self._table = _CountedTable()
        self._decoder.header_table = self._table
        self.known: dict[bytes, RequestHead] = {}

    def read(self, block: bytes) -> RequestHead:
        """The head that a whole block stands for.

        Raises:
            ConnectionFault: It cannot be decoded, or is too large once decoded: the table is lost.
        """
        known = self.known.get(block)
        if known is not None:
            return known
        changes = self._table.changes
        head = RequestHead(self._decoded(block))
        if self._table.changes != changes or _resizes(block):
            self.known.clear()
        elif len(block) <= MOST_BYTES:
            if len(self.known) >= MOST:
                self.known.clear()
            self.known[block] = head
        return head

    def skip(self, block: bytes) -> bool:
        """Decode a block for the table's sake; whether it could be trailers.

        Raises:
            ConnectionFault: It cannot be decoded.
        """
        fields = self._decoded(block)
        self.known.clear()
        return not any(name[:1] == b":" or name != name.lower() for name, _ in fields)

    def _decoded(self, block: bytes) -> list[tuple[bytes, bytes]]:
        try:
            return [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)]
        except OversizedHeaderListError:
            raise ConnectionFault(COMPRESSION_ERROR, "the header list is too large") from None
        except (HPACKError, IndexError, ValueError, OverflowError):
            raise ConnectionFault(COMPRESSION_ERROR, "the header block cannot be decoded") from None


def _resizes(block: bytes) -> bool:
    """Whether a block begins with another size of the table, which only its begin may (RFC 7541, 4.2)."""
    return block[:1] != b"" and block[0] & 0xE0 == 0x20
