"""The inference log's payload: what one engine run answered, column by column.

    Capture (arrays as raw little-endian bytes, one frame a run) --pack--> journal --unpack--> Exchange, one a request

Encoding a run's arrays whole costs a tenth of a microsecond a request where encoding each request's values one by one
costs five, so it can be done on the request path; whoever reads takes it apart behind it. What is the same in all runs
of a variant is packed once (`Stem`). Fields are only ever appended; `FORMAT` is the first, so that a reader knows what
it has.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import cast

import msgspec
import numpy as np

from penstock.errors import Corrupt
from penstock.log.journal import LARGE_BYTES
from penstock.records import Column, Exchange, Variant
from penstock.tensors import DTYPES, Array, Arrays

FORMAT = 1
_BIN_32 = struct.Struct(">BI")
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_VIEWS: tuple[type, ...] = (memoryview,)
"""What a large array's bytes are, which the types of a capture do not say: it is never read back as one."""


class Block(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One input or output of all requests of a run.

    Attributes:
        datatype: Of the protocol; empty where `data` are plain values.
        shape: The first dimension counts rows.
        data: Row-major little-endian bytes; text and plain values as they are, one entry a row.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes | Column


class Capture(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one run of one variant answered to one or more requests.

    Attributes:
        received_at: Wall clock of the run's requests, seconds.
        ids: One a request.
        latencies_s: One a request.
        rows: One a request; empty where each has one.
        keys: Routing keys; empty where each is its request's id.
        event_times: Seconds since the epoch; empty where each is `received_at`.
        client_ids: Empty where no caller gave one.
        subjects: Empty where nobody in particular asked.
    """

    format: int
    endpoint: str
    release: int
    model: str
    version: int
    variant: str
    share: float
    shadow: bool
    code: str
    received_at: float
    ids: Sequence[str]
    latencies_s: Sequence[float]
    inputs: tuple[Block, ...]
    outputs: tuple[Block, ...]
    rows: Sequence[int] = ()
    keys: Sequence[str] = ()
    event_times: Sequence[float] = ()
    client_ids: Sequence[str] = ()
    subjects: Sequence[str] = ()


class RunFields(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The fields of a `Capture` that differ from run to run, in its order: all from `received_at` on."""

    received_at: float
    ids: Sequence[str]
    latencies_s: Sequence[float]
    inputs: tuple[Block, ...]
    outputs: tuple[Block, ...]
    rows: Sequence[int] = ()
    keys: Sequence[str] = ()
    event_times: Sequence[float] = ()
    client_ids: Sequence[str] = ()
    subjects: Sequence[str] = ()


pack = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Capture).decode


class Stem:
    """The first fields of all captures of a variant's answers with one outcome, packed once.

    Args:
        endpoint: As in `Capture`, as are all.
        release: Of the endpoint.
        variant: Who answers.
        code: How it ended.
    """

    __slots__ = ("_packed",)

    def __init__(self, endpoint: str, release: int, variant: Variant, code: str) -> None:
        first = (FORMAT, endpoint, release, variant.model, variant.version, variant.name, variant.share, variant.shadow)
        self._packed = b"".join((_length(Capture.__struct_fields__), *map(pack, first), pack(code)))

    def pieces(self, rest: RunFields) -> Sequence[bytes]:
        """What `pieces` gives for the whole capture."""
        # The array of the rest is a part of a longer one: its own length, a byte, goes.
        return (self._packed, *_in_pieces(rest)[1:]) if _is_large(rest) else (self._packed + pack(rest)[1:],)


def pieces(capture: Capture) -> Sequence[bytes]:
    """The payload of a capture, in pieces: a large array is one of them, as it lies in memory."""
    return _in_pieces(capture) if _is_large(capture) else (pack(capture),)


def blocks(arrays: Arrays) -> tuple[Block, ...]:
    """Arrays of the protocol's datatypes as the log holds them, without a copy of each value."""
    found: list[Block] = []
    for name, array in arrays.items():
        datatype = _NAMES[array.dtype]
        if datatype == "BYTES":
            found.append(_texts(name, array))
        else:
            data = array.tobytes() if array.nbytes < LARGE_BYTES else _bytes(array)
            found.append(Block(name, datatype, array.shape, data))
    return tuple(found)


def captured(exchange: Exchange) -> Capture:
    """A capture of one exchange, for writers that have nothing but values."""
    return Capture(
        FORMAT,
        exchange.endpoint,
        exchange.release,
        exchange.model,
        exchange.version,
        exchange.variant,
        exchange.share,
        exchange.shadow,
        exchange.code,
        exchange.received_at,
        (exchange.id,),
        (exchange.latency_s,),
        tuple(Block(name, "", (exchange.rows,), column) for name, column in exchange.inputs.items()),
        tuple(Block(name, "", (exchange.rows,), column) for name, column in exchange.outputs.items()),
        (exchange.rows,),
        (exchange.key,),
        (exchange.event_time,),
        (exchange.client_id,),
        (exchange.subject,),
    )


def decode(payload: bytes) -> Capture:
    """The capture of a payload.

    Raises:
        DecodeError: Of msgspec: it is none.
        Corrupt: A newer Penstock wrote it.
    """
    try:
        capture = _decode(payload)
    except UnicodeDecodeError:
        raise Corrupt("a capture holds text that is none", "restore it from a backup or another copy") from None
    if capture.format != FORMAT:
        raise Corrupt(f"a capture has format {capture.format} and this version reads {FORMAT}", "use a newer Penstock")
    return capture


def unpack(payload: bytes) -> list[Exchange]:
    """The exchanges of a payload.

    Raises:
        DecodeError: Of msgspec: it is no capture.
        Corrupt: A newer Penstock wrote it, or its arrays are not as large as they say.
    """
    capture = decode(payload)
    inputs, outputs = columns(capture.inputs), columns(capture.outputs)
    found: list[Exchange] = []
    start = 0
    for index, own_id in enumerate(capture.ids):
        rows = capture.rows[index] if capture.rows else 1
        end = start + rows
        found.append(
            Exchange(
                own_id,
                capture.endpoint,
                capture.release,
                capture.model,
                capture.version,
                capture.variant,
                capture.share,
                capture.keys[index] if capture.keys else own_id,
                capture.event_times[index] if capture.event_times else capture.received_at,
                capture.received_at,
                capture.latencies_s[index],
                capture.code,
                rows,
                {name: column[start:end] for name, column in inputs.items()},
                {name: column[start:end] for name, column in outputs.items()},
                capture.client_ids[index] if capture.client_ids else "",
                capture.shadow,
                capture.subjects[index] if capture.subjects else "",
            )
        )
        start = end
    return found


def _is_large(capture: Capture | RunFields) -> bool:
    """Whether an array of it is held as it lies in memory."""
    for block in capture.inputs + capture.outputs:  # noqa: SIM110 (a loop is faster)
        if type(block.data) in _VIEWS:
            return True
    return False


def _in_pieces(capture: Capture | RunFields) -> list[bytes]:
    """The same bytes as `pack` gives: msgpack of an array is its length, then one entry after the other."""
    found = [_length(capture.__struct_fields__)]
    for name in capture.__struct_fields__:
        value = getattr(capture, name)
        if name in ("inputs", "outputs"):
            found.append(_length(value))
            for block in value:
                found += _block_in_pieces(block)
        else:
            found.append(pack(value))
    return found


def _block_in_pieces(block: Block) -> list[bytes]:
    if type(block.data) not in _VIEWS:
        return [pack(block)]
    head = _length(block.__struct_fields__) + pack(block.name) + pack(block.datatype) + pack(block.shape)
    return [head + _BIN_32.pack(0xC6, len(block.data)), cast(bytes, block.data)]


def _length(entries: Sequence[object]) -> bytes:
    return bytes((0x90 | len(entries),)) if len(entries) < 16 else b"\xdc" + len(entries).to_bytes(2, "big")


def _bytes(array: Array) -> bytes:
    """A large array's bytes as they lie in it, so that nobody copies them."""
    if not array.flags.c_contiguous:
        return array.tobytes()
    return cast(bytes, array.ravel().view(np.uint8).data)


def _texts(name: str, array: Array) -> Block:
    return Block(name, "BYTES", array.shape, cast(Column, _flat(array).tolist()))


def columns(blocks_: tuple[Block, ...]) -> dict[str, Column]:
    """One entry a row; a column of one value as that value.

    Raises:
        Corrupt: An array is not as large as it says.
    """
    return {block.name: _column(block) for block in blocks_}


def values(block: Block) -> Array | None:
    """Its numbers, a column of one value as flat; None where it holds texts or plain values.

    Raises:
        Corrupt: The array is not as large as it says.
    """
    return _flat(_array(block, block.data)) if isinstance(block.data, bytes) else None


def _column(block: Block) -> Column:
    array = values(block)
    return cast(Column, block.data if array is None else array.tolist())


def _array(block: Block, data: bytes) -> Array:
    try:
        return np.frombuffer(data, DTYPES[block.datatype].newbyteorder("<")).reshape(block.shape)
    except (KeyError, ValueError):
        raise Corrupt("a capture's array is not as large as it says", "restore the log", code="log.corrupt") from None


def _flat(array: Array) -> Array:
    return array.ravel() if array.ndim == 2 and array.shape[1] == 1 else array
