"""The inference log's write-ahead format: framed records in append-only segments.

    segment = header (magic, format number) + frames
    frame   = length (u32) + CRC-32 of the payload (u32) + payload, little-endian

A writer appends with one ``write`` for many frames; a killed writer leaves at most a torn tail, which readers
leave alone. A frame that is whole but wrong is damage, and is named. To change what is stored, raise `FORMAT`,
keep reading the old number here, and add a segment of the old one to the golden tests.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Sequence
from pathlib import Path

from zlib_ng.zlib_ng import crc32

from penstock.errors import Corrupt

FORMAT = 1
SUFFIX = ".wal"
SEGMENT_BYTES = 64 << 20
SEGMENT_S = 3600.0
LARGE_BYTES = 64 << 10
MAX_PAYLOAD_BYTES = 256 << 20
_MAGIC = b"PSTKWAL\0"
_FRAME = struct.Struct("<II")
HEADER = _MAGIC + struct.pack("<II", FORMAT, 0)
FRAME_BYTES = _FRAME.size
"""What a payload takes in a segment beside its own bytes."""


def frame(*payload: bytes) -> tuple[bytes, ...]:
    """A payload, in one piece or more, as it lies in a segment: what comes before it, then the pieces as they are."""
    if len(payload) == 1:
        return _FRAME.pack(len(payload[0]), crc32(payload[0])), payload[0]
    checksum = 0
    for piece in payload:
        checksum = crc32(piece, checksum)
    return _FRAME.pack(sum(map(len, payload)), checksum), *payload


class Journal:
    """Appends frames to segments of its own; one writer per prefix.

    Args:
        folder: Where segments go; made when missing.
        prefix: Start of the segments' names, unique among living writers.
        segment_bytes: A segment that reached this size is followed by another.
        segment_s: So is one that reached this age, in seconds.
    """

    def __init__(
        self, folder: Path, prefix: str, *, segment_bytes: int = SEGMENT_BYTES, segment_s: float = SEGMENT_S
    ) -> None:
        self._folder = folder
        self._prefix = prefix
        self._segment_bytes = segment_bytes
        self._segment_s = segment_s
        self._descriptor = -1
        self._size = 0
        self._opened = 0.0
        self._sequence = 0
        self._retired: list[int] = []
        self._dirty = False

    def append(self, payload: bytes) -> None:
        """Write one payload; not yet durable."""
        self.write(frame(payload))

    def write(self, pieces: Sequence[bytes]) -> None:
        """Write the pieces of framed payloads, all of them or none.

        It is one system call, unless a piece is so large that copying it would cost more than another call.

        Raises:
            OSError: The disk does not take them; the segment ends where it ended before.
        """
        if self._descriptor < 0 or self._full():
            self._rotate()
        # Of one frame in two pieces, a turn's usual write, the second is the larger one.
        largest = len(pieces[1]) if len(pieces) == 2 else max(map(len, pieces))
        parts = [b"".join(pieces)] if largest < LARGE_BYTES else pieces
        size = 0
        try:
            for data in parts:
                if os.write(self._descriptor, data) != len(data):
                    raise OSError("the disk is full")
                size += len(data)
        except OSError:
            self._take_back()
            raise
        self._size += size
        self._dirty = True

    def sync(self) -> None:
        """Make durable what was written so far; may run on another thread than `write`.

        Raises:
            OSError: The disk failed; what was written since the last success may be lost, and the next write
                starts a new segment, because nobody knows what the old one holds.
        """
        retired, self._retired = self._retired, []
        current = self._descriptor
        self._dirty = False
        try:
            for descriptor in (*retired, current):
                if descriptor >= 0:
                    os.fsync(descriptor)
        except OSError:
            self._retire()
            raise
        finally:
            for descriptor in retired:
                os.close(descriptor)

    @property
    def dirty(self) -> bool:
        """Whether something was written that is not yet durable."""
        return self._dirty

    def close(self) -> None:
        """Make everything durable and let go."""
        try:
            self.sync()
        finally:
            self._retire()
            for descriptor in self._retired:
                os.close(descriptor)
            self._retired = []

    def _full(self) -> bool:
        return self._size >= self._segment_bytes or time.monotonic() - self._opened >= self._segment_s

    def _rotate(self) -> None:
        """Start the next segment; the old one is synced and closed by the next `sync`."""
        self._retire()
        self._folder.mkdir(parents=True, exist_ok=True)
        descriptor = self._create()
        try:
            if os.write(descriptor, HEADER) != len(HEADER):
                raise OSError("the disk is full")
            _sync_folder(self._folder)
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor, self._size, self._opened = descriptor, len(HEADER), time.monotonic()

    def _create(self) -> int:
        """A file of a new name; a writer of the same prefix may have been here in the same millisecond."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        while True:
            self._sequence += 1
            name = f"{self._prefix}-{time.time_ns() // 1_000_000}-{self._sequence:06}{SUFFIX}"
            try:
                return os.open(self._folder / name, flags, 0o600)
            except FileExistsError:
                continue

    def _retire(self) -> None:
        if self._descriptor >= 0:
            self._retired.append(self._descriptor)
            self._descriptor = -1

    def _take_back(self) -> None:
        """Cut off what was half written, or give the segment up."""
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError:
            self._retire()


def read_segment(path: Path, offset: int = 0, most: int = -1) -> tuple[list[bytes], int]:
    """Payloads from `offset` on, and the offset to go on from.

    Args:
        path: The segment.
        offset: Where to begin.
        most: Bytes to read at once, more only where a payload is larger; all of them where negative. Whoever reads
            in parts is at the end when the offset no longer moves.

    A torn tail (a frame that ends beyond the file, or zeros that a power cut left) is not read and not passed.

    Raises:
        Corrupt: A whole frame does not match its checksum, or the header is not ours; names file and offset.
    """
    with path.open("rb") as file:
        if offset < len(HEADER):
            head = file.read(len(HEADER))
            if len(head) < len(HEADER):
                return [], 0
            _check_header(head, path)
            offset = len(HEADER)
        file.seek(offset)
        data = file.read(most)
        payloads, used = _frames(data, path, offset)
        if not used and len(data) == most:
            payloads, used = _frames(data + file.read(MAX_PAYLOAD_BYTES), path, offset)
    return payloads, offset + used


def _frames(data: bytes, path: Path, offset: int) -> tuple[list[bytes], int]:
    payloads: list[bytes] = []
    at = 0
    while at + _FRAME.size <= len(data):
        length, checksum = _FRAME.unpack_from(data, at)
        if length == 0 and not any(data[at : at + 64]):
            break
        end = at + _FRAME.size + length
        if length > MAX_PAYLOAD_BYTES or (length == 0):
            raise _damaged(path, offset + at)
        if end > len(data):
            break
        payload = data[at + _FRAME.size : end]
        if crc32(payload) != checksum:
            raise _damaged(path, offset + at)
        payloads.append(payload)
        at = end
    return payloads, at


def _check_header(head: bytes, path: Path) -> None:
    if head[: len(_MAGIC)] != _MAGIC:
        raise _damaged(path, 0)
    number = struct.unpack_from("<I", head, len(_MAGIC))[0]
    if number != FORMAT:
        raise Corrupt(
            f"{path.name} has format {number} and this version reads {FORMAT}", "read it with a newer Penstock"
        )


def _damaged(path: Path, offset: int) -> Corrupt:
    return Corrupt(
        f"{path.name} is damaged at byte {offset}", "what lies before is whole; restore the rest", code="log.corrupt"
    )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
