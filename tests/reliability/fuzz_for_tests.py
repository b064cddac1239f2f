"""Our own parsers, each as one function of bytes, and where to start from: for any fuzzer.

    Parser(name, seeds, parse) ; parse(data) may raise what it is allowed to, and nothing else, within a second

`mutations` is the fuzzer that is always there: seeded, with the grammar's own words. With atheris installed the full
form uses that as well, because it sees which branches an input reached (`python -m tests.reliability.fuzz_for_tests`).
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import shutil
import socket
import struct
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import msgspec
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from listener_for_tests import Listener
from packages_for_tests import flights_like, linear_package
from penstock.errors import Corrupt, InvalidInput, PenstockError
from penstock.log.captures import captured
from penstock.log.captures import unpack as unpack_capture
from penstock.log.journal import HEADER, frame, read_segment
from penstock.log.tail import Tail
from penstock.packages.archive import Caps, pack, unpack
from penstock.packages.manifest import parse_manifest
from penstock.records import Exchange, Route, Snapshot, Variant, decode, encode
from penstock.runtime.frames import Header, Inbox
from penstock.runtime.frames import pack as pack_frame
from penstock.serve.encodings import decompressed
from penstock.serve.infermessage import read_request as read_infer
from penstock.serve.meters import Label, Meters, totals
from penstock.serve.predictmessage import read_predict
from penstock.serve.snapshots import FILE, SnapshotFile
from penstock.tensors import Signature, TensorSpec
from tests.reliability.clients_for_tests import BODY, PATH, post
from tests.reliability.dialects_for_tests import DIALECTS, INFER_MESSAGES, Dialect, predict_message
from tests.reliability.hostile_for_tests import Hostile, hostile_frames, tensor

SLOW_S = 1.0
TURNS = 12


class Parser(NamedTuple):
    """One parser of ours."""

    name: str
    seeds: tuple[bytes, ...]
    parse: Callable[[bytes], None]


class Wrong(Exception):
    """It answered what it may not."""


def parsers(folder: Path) -> tuple[list[Parser], Callable[[], None]]:
    """All of them, and what to call at the end."""
    loop = asyncio.new_event_loop()
    listener = loop.run_until_complete(_listener(folder))
    alone = {name: loop.run_until_complete(_listener(folder / "alone", (name,))) for name in BUILDERS}
    hostile = Hostile(3)
    heads = tuple(case.data for case in (hostile.case() for _ in range(60)))
    found = [
        Parser("HTTP listener", (post(), post() * 3, *heads), lambda data: _over_http(loop, listener, data)),
        Parser(
            "V2 JSON", (BODY, json.dumps(tensor()).encode(), FLIGHTS), lambda data: _ask(loop, listener, PATH, data)
        ),
        Parser("V1", (b'{"instances":[[1,2,3,4]]}', ROWS), lambda data: _ask(loop, listener, V1, data)),
        Parser("V2 raw", (_raw_body(), bytes(32)), lambda data: _ask_raw(loop, listener, data)),
        *(_dialect(loop, alone.get(one.alone, listener), one) for one in DIALECTS),
        Parser("messages of V2", INFER_MESSAGES, _read_infer),
        Parser("messages of TensorFlow Serving", (predict_message(),), _read_predict),
        Parser("content codings", (gzip.compress(BODY), gzip.compress(bytes(100))), _decompress),
        Parser("sandbox frames", _frames(), _read_frame),
        Parser("journal", _segments(), lambda data: _read_journal(folder / "fuzzed", data)),
        Parser("captures", (msgspec.msgpack.encode(captured(EXCHANGE)),), _unpack_capture),
        Parser("archives", _archives(folder), lambda data: _unpack(folder / "archives", data)),
        Parser("snapshot", (encode(SNAPSHOT),), lambda data: _read_snapshot(folder / "run", data)),
        Parser("manifest", ((folder / "linear" / "manifest.json").read_bytes(),), _parse_manifest),
        Parser("counters", (_counters(folder),), lambda data: _read_counters(folder / "meters-fuzzed", data)),
    ]
    with suppress(ImportError):
        found.append(_http2(loop, listener))

    def close() -> None:
        for one in (listener, *alone.values()):
            one.shelf.close()
        loop.close()

    return found, close


# -- the listener and all behind it

V1 = "/v1/models/flights:predict"
ROWS = b'{"instances":[{"distance":1.0,"carrier":"UA","delay":null}]}'
FLIGHTS = json.dumps(
    {
        "inputs": [
            {"name": "distance", "datatype": "FP64", "shape": [1, 1], "data": [1.5]},
            {"name": "carrier", "datatype": "BYTES", "shape": [1, 1], "data": ["UA"]},
            {"name": "delay", "datatype": "FP64", "shape": [1, 1], "data": [None]},
        ]
    }
).encode()


BUILDERS = {"linear": linear_package, "flights": flights_like}


async def _listener(folder: Path, names: tuple[str, ...] = tuple(BUILDERS)) -> Listener:
    folder.mkdir(exist_ok=True)
    digests = [BUILDERS[name](folder / name) for name in names]
    made = Listener(folder / f"{len(names)}-{names[0]}")
    routes = tuple(
        Route(endpoint=name, release=1, variants=(Variant(name="stable", model=name, version=1, digest=digest),))
        for name, digest in zip(names, digests, strict=True)
    )
    await made.show(*routes, packages={digest: str(folder / name) for name, digest in zip(names, digests, strict=True)})
    return made


def _over_http(loop: asyncio.AbstractEventLoop, listener: Listener, data: bytes) -> None:
    """On a new connection, in pieces that the bytes themselves decide."""
    client = listener.client()

    async def feed() -> None:
        at = 0
        while at < len(data) and not client.wire.closed:
            size = 1 + (data[at] * 37 + len(data)) % max(len(data), 2)
            client.connection.data_received(data[at : at + size])
            at += size
            await asyncio.sleep(0)
        for _ in range(TURNS):
            await asyncio.sleep(0)
        client.connection.connection_lost(None)

    loop.run_until_complete(feed())
    _judge(b"".join(client.wire.written))


def _ask(loop: asyncio.AbstractEventLoop, listener: Listener, path: str, body: bytes, lines: str = "") -> None:
    client = listener.client()

    async def ask() -> None:
        client.send(path, body, lines)
        patience = time.monotonic() + 5.0
        while not client.wire.written and time.monotonic() < patience:
            await asyncio.sleep(0)

    loop.run_until_complete(ask())
    client.connection.connection_lost(None)
    written = b"".join(client.wire.written)
    if not b"HTTP/1.1 200" <= written[:12] < b"HTTP/1.1 500":
        raise Wrong(repr(written[:400]))


def _raw_body() -> bytes:
    head = json.dumps(tensor(data=None, parameters={"binary_data_size": 16})).encode()
    return struct.pack("<H", len(head)) + head + struct.pack("<4f", 1, 2, 3, 4)


def _ask_raw(loop: asyncio.AbstractEventLoop, listener: Listener, data: bytes) -> None:
    """The first two bytes are the length that the header declares."""
    length = int.from_bytes(data[:2], "little")
    _ask(loop, listener, PATH, data[2:], f"Inference-Header-Content-Length: {length}\r\n")


def _dialect(loop: asyncio.AbstractEventLoop, listener: Listener, one: Dialect) -> Parser:
    return Parser(one.name, one.seeds, lambda data: _ask(loop, listener, one.path, data, one.lines))


SIGNATURE = Signature(
    inputs=(TensorSpec(name="X", datatype="FP32", shape=(-1, 4)),),
    outputs=(TensorSpec(name="y", datatype="FP32", shape=(-1, 1)),),
)


def _read_infer(data: bytes) -> None:
    with suppress(PenstockError):
        read_infer(data, ("linear", ""), SIGNATURE)


def _read_predict(data: bytes) -> None:
    with suppress(PenstockError):
        read_predict(data, SIGNATURE)


def _judge(written: bytes) -> None:
    """Nothing but whole answers, none of them a fault of ours."""
    if written and not written.startswith(b"HTTP/1.1 "):
        raise Wrong(f"no answer: {written[:100]!r}")
    if b"HTTP/1.1 500" in written or b"serve.fault" in written:
        raise Wrong(f"a fault of ours: {written[:300]!r}")


def _http2(loop: asyncio.AbstractEventLoop, listener: Listener) -> Parser:
    """Frames of HTTP/2, below gRPC; there where the listener is."""
    from http2_for_tests import connection_of  # type: ignore[import-not-found]

    chance = random.Random(5)
    seeds = tuple(hostile_frames(chance) for _ in range(40))

    def parse(data: bytes) -> None:
        async def feed() -> None:
            connection = connection_of(listener)
            for at in range(0, len(data), 97):
                connection.data_received(data[at : at + 97])
                await asyncio.sleep(0)
            connection.connection_lost(None)

        loop.run_until_complete(feed())

    return Parser("HTTP/2 frames", seeds, parse)


# -- what lies on disk, and what a sandboxed model says

EXCHANGE = Exchange(
    "a1", "e", 1, "m", 1, "stable", 1.0, "a1", 1.0, 1.0, 0.1, "ok", 1, {"X": [[1.0, 2.0]]}, {"y": ["a"]}
)
SNAPSHOT = Snapshot(
    number=3,
    routes=(
        Route(endpoint="e", release=1, variants=(Variant(name="stable", model="m", version=1, digest="sha256:0"),)),
    ),
    packages={"sha256:0": "/nowhere"},
)


def _decompress(data: bytes) -> None:
    for coding in (b"gzip", b"deflate"):
        with suppress(InvalidInput):
            decompressed(data, coding, 1 << 20)


def _frames() -> tuple[bytes, ...]:
    arrays = {"X": np.ones((2, 3)), "t": np.array([["a"], ["bc"]], object), "b": np.array([True])}
    return (pack_frame(Header(id=1), arrays), pack_frame(Header(id=2, failed="KeyError", message="no")))


def _read_frame(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        with suppress(BlockingIOError):
            theirs.send(data[: 1 << 16])
        theirs.shutdown(socket.SHUT_WR)
        inbox = Inbox(1 << 20)
        # A peer that says no frame is ended: ValueError and EOFError are how it is told.
        with suppress(ValueError, EOFError):
            while True:
                inbox.receive(ours)


def _segments() -> tuple[bytes, ...]:
    one = b"".join(frame(msgspec.msgpack.encode(captured(EXCHANGE))))
    return (HEADER + one, HEADER + one * 3, HEADER + b"".join(frame(b"x")), HEADER, b"")


def _read_journal(folder: Path, data: bytes) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / "worker-1-1-000001.wal"
    path.write_bytes(data)
    with suppress(Corrupt):
        read_segment(path)
    Tail(folder, Exchange).read()


def _unpack_capture(data: bytes) -> None:
    with suppress(Corrupt, msgspec.DecodeError):
        unpack_capture(data)


def _archives(folder: Path) -> tuple[bytes, ...]:
    small = folder / "small"
    (small / "a").mkdir(parents=True)
    (small / "a" / "b.txt").write_bytes(b"some text" * 20)
    (small / "manifest.json").write_bytes(b"{}")
    made = [pack(small, folder / "small.tar").read_bytes()]
    with zipfile.ZipFile(folder / "small.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(small / "a" / "b.txt", "a/b.txt")
    made.append((folder / "small.zip").read_bytes())
    with tarfile.open(folder / "gnu.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        archive.add(small / "a" / "b.txt", "a" * 120)
    return (*made, (folder / "gnu.tar").read_bytes())


def _unpack(folder: Path, data: bytes) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "archive").write_bytes(data)
    with suppress(PenstockError):
        unpack(folder / "archive", folder / "out", caps=Caps(files=50, total_bytes=1 << 20))
    shutil.rmtree(folder / "out", ignore_errors=True)
    left = [path.name for path in folder.iterdir() if path.name != "archive"]
    if left:
        raise Wrong(f"left behind: {left}")


def _read_snapshot(folder: Path, data: bytes) -> None:
    folder.mkdir(exist_ok=True)
    (folder / FILE).write_bytes(data)
    SnapshotFile(folder).changed()
    with suppress(Corrupt):
        decode(data, Snapshot)


def _parse_manifest(data: bytes) -> None:
    with suppress(PenstockError):
        parse_manifest(data)


def _counters(folder: Path) -> bytes:
    path = folder / "seed" / "worker-1.meter"
    meters = Meters(path)
    meters.series(Label("e", "1", "stable", "ok")).add(1, 0.001)
    meters.series(Label("e", "1", "stable", "input.invalid")).add(0, 0.001)
    return path.read_bytes()


def _read_counters(folder: Path, data: bytes) -> None:
    """Only the head of a file of a megabyte is mutated; the rest of it is zeros."""
    folder.mkdir(exist_ok=True)
    path = folder / "worker-1.meter"
    path.write_bytes(data)
    with suppress(Corrupt):
        totals(folder)
    with suppress(Corrupt):
        Meters(path)


# -- the fuzzer that is always there

WORDS = (
    b"\r\n", b"\r\n\r\n", b":", b"Content-Length: ", b"chunked", b"0", b"-1", b"ffffffff", b"\xff" * 8, b"\0" * 8, b"{",
    b"}", b"[", b"]", b'"', b"null", b"NaN", b"1e999", b"\\u0000", b"\xed\xa0\x80", b"../", b"/", b"PK\x05\x06",
    struct.pack("<I", 2**31), struct.pack("<Q", 2**63), struct.pack("<q", -1), b"\x91", b"\xdf\xff\xff\xff\xff",
)  # fmt: skip


def mutations(seeds: tuple[bytes, ...], chance: random.Random) -> Iterator[bytes]:
    """Inputs near the seeds, for ever; large seeds are changed near their start, where their grammar is."""
    while True:
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
            reach = max(min(len(data), 4096), 1)
            at = chance.randrange(reach)
            how = chance.randrange(7)
            if how == 0 and data:
                data[at] ^= 1 << chance.randrange(8)
            elif how == 1:
                data[at:at] = chance.choice(WORDS)
            elif how == 2:
                del data[at : at + chance.choice((1, 2, 8, 64))]
            elif how == 3:
                data[at : at + 4] = chance.randbytes(4)
            elif how == 4:
                data = data[:at] if len(data) <= 4096 else data
            elif how == 5:
                other = chance.choice(seeds)
                data[at:at] = other[: chance.randrange(min(len(other), 4096) + 1)]
            else:
                data[at : at + len(chance.choice(WORDS))] = chance.choice(WORDS)
        yield bytes(data)


class Found(NamedTuple):
    """What a fuzzer found."""

    runs: int
    uncaught: list[str]
    slow: list[str]


def fuzz(parser: Parser, *, seconds: float, seed: int) -> Found:
    """So many seconds of one parser."""
    chance = random.Random(seed)
    runs, uncaught, slow = 0, [], []
    end = time.monotonic() + seconds
    for data in mutations(parser.seeds, chance):
        begun = time.monotonic()
        if begun >= end:
            break
        try:
            parser.parse(data)
        # Whatever comes out of a parser but its own refusals is what is looked for.
        except Exception as error:
            if len(uncaught) < 5:
                uncaught.append(f"{parser.name}: {type(error).__name__}: {error} for {data[:200]!r}")
        spent = time.monotonic() - begun
        if spent > SLOW_S and all(_takes(parser, data) > SLOW_S for _ in range(2)):
            slow.append(f"{parser.name}: {spent:.1f} s for {len(data)} bytes: {data[:200]!r}")
        runs += 1
    return Found(runs, uncaught, slow)


def _takes(parser: Parser, data: bytes) -> float:
    """Once more: what was slow because the machine was is not slow again."""
    begun = time.monotonic()
    with suppress(Exception):
        parser.parse(data)
    return time.monotonic() - begun


def main() -> None:
    """One parser under atheris: NAME SECONDS; it ends with 77 or a signal where something was found."""
    import atheris

    name, seconds = sys.argv[1], sys.argv[2]
    atheris.instrument_all()
    with TemporaryDirectory() as scratch:
        found, _ = parsers(Path(scratch))
        (parser,) = (one for one in found if one.name == name)
        corpus = Path(scratch) / "corpus"
        corpus.mkdir()
        for number, data in enumerate(parser.seeds):
            (corpus / str(number)).write_bytes(data)
        options = [f"-max_total_time={seconds}", "-timeout=2", "-max_len=16384", "-verbosity=0", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], *options, str(corpus)], parser.parse)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
