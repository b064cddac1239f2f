"""HTTP/2 as hostile clients speak it: each rule of RFC 9113 that is relied on, and each known attack.

In the manner of h2spec: what must come back is a RST_STREAM or a GOAWAY with a named code, or nothing at all; and
afterwards the server still answers somebody else.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import hpack
import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from http2_for_tests import EMPTY, INFER, LIVE, PREFACE, GrpcPlace, Wire, good_client, infer_request
from penstock.serve.listeners.http2_limits import Http2Limits

NO_ERROR, PROTOCOL, INTERNAL, FLOW, SETTINGS_TIMEOUT, CLOSED, SIZE, REFUSED, CANCEL, COMPRESSION = range(10)
CALM = 11
ACK, END_STREAM, END_HEADERS = ["ACK"], ["END_STREAM"], ["END_HEADERS"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GrpcPlace]:
    with GrpcPlace(tmp_path_factory.mktemp("grpc")) as place:
        yield place


def raw(kind: int, flags: int, stream: int, payload: bytes = b"", size: int | None = None) -> bytes:
    """A frame that hyperframe would not make."""
    length = len(payload) if size is None else size
    return struct.pack(">IBI", length << 8 | kind, flags, stream) + payload


def opened(wire: Wire, stream: int = 1) -> None:
    """A stream that waits for DATA."""
    wire.head(stream)


def ended(wire: Wire) -> None:
    """A stream that was answered."""
    assert wire.call(1)[1]["grpc-status"] == "0"


def literal(*fields: tuple[bytes, bytes]) -> bytes:
    """A header block of plain literals, which an encoder might refuse or lower-case."""
    return b"".join(b"\0" + bytes((len(n),)) + n + bytes((len(v),)) + v for n, v in fields)


GOOD = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", LIVE.encode()), (b"content-type", b"application/grpc"))


# -- what ends the connection: what is sent, and the code of the GOAWAY

CONNECTION_FAULTS: dict[str, tuple[Callable[[Wire], object], int]] = {
    "3.4: a preface that is none": (lambda w: w.raw(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"), PROTOCOL),
    "3.4: HTTP/1.1": (lambda w: w.raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), PROTOCOL),
    "3.4: no SETTINGS first": (lambda w: w.raw(PREFACE + PingFrame(0, b"12345678").serialize()), PROTOCOL),
    "3.4: an acknowledgement first": (lambda w: w.raw(PREFACE + SettingsFrame(0, flags=ACK).serialize()), PROTOCOL),
    "4.2: a frame larger than announced": (lambda w: w.raw(raw(0, 0, 1, size=(128 << 10) + 1)), SIZE),
    "4.3: a block that cannot be decoded": (lambda w: w.raw(raw(1, 4, 1, b"\xff" * 7)), COMPRESSION),
    "4.3: an index beyond both tables": (lambda w: w.raw(raw(1, 4, 1, b"\xff\x40")), COMPRESSION),
    "4.3: Huffman code that is none": (lambda w: w.raw(raw(1, 4, 1, b"\0\x84\xff\xff\xff\xff\x00")), COMPRESSION),
    "4.3: a table larger than allowed": (lambda w: w.raw(raw(1, 4, 1, b"\x3f\xe2\x1f")), COMPRESSION),
    "4.3: another frame inside a block": (
        lambda w: (w.raw(raw(1, 0, 1, b"\x82")), w.send(PingFrame(0, b"12345678"))), PROTOCOL),
    "4.3: another stream's CONTINUATION": (
        lambda w: (w.raw(raw(1, 0, 1, b"\x82")), w.raw(raw(9, 4, 3, b""))), PROTOCOL),
    "4.3: an unknown frame inside a block": (lambda w: w.raw(raw(1, 0, 1, b"\x82") + raw(77, 0, 0)), PROTOCOL),
    "5.1: DATA on an idle stream": (lambda w: w.data(1), PROTOCOL),
    "5.1: RST_STREAM on an idle stream": (lambda w: w.send(RstStreamFrame(1, 8)), PROTOCOL),
    "5.1: WINDOW_UPDATE on an idle stream": (lambda w: w.send(WindowUpdateFrame(1, 5)), PROTOCOL),
    "5.1: HEADERS on a closed stream": (lambda w: (ended(w), w.head(1)), CLOSED),
    "5.1.1: an even stream": (lambda w: w.head(2), PROTOCOL),
    "5.1.1: a stream below the last": (lambda w: (w.call(5), w.head(3)), CLOSED),
    "6.1: DATA on stream 0": (lambda w: w.raw(raw(0, 0, 0, b"x")), PROTOCOL),
    "6.1: more padding than DATA": (lambda w: (opened(w), w.raw(raw(0, 8, 1, b"\x05abc"))), PROTOCOL),
    "6.1: padded DATA without a length": (lambda w: (opened(w), w.raw(raw(0, 8, 1))), PROTOCOL),
    "6.2: HEADERS on stream 0": (lambda w: w.raw(raw(1, 4, 0, b"\x82")), PROTOCOL),
    "6.2: more padding than HEADERS": (lambda w: w.raw(raw(1, 4 | 8, 1, b"\x05\x82")), PROTOCOL),
    "6.2: HEADERS too short for its priority": (lambda w: w.raw(raw(1, 4 | 32, 1, b"\x82")), SIZE),
    "6.3: PRIORITY on stream 0": (lambda w: w.raw(raw(2, 0, 0, bytes(5))), PROTOCOL),
    "6.4: RST_STREAM on stream 0": (lambda w: w.raw(raw(3, 0, 0, bytes(4))), PROTOCOL),
    "6.4: RST_STREAM of three bytes": (lambda w: (opened(w), w.raw(raw(3, 0, 1, bytes(3)))), SIZE),
    "6.5: SETTINGS on a stream": (lambda w: w.raw(raw(4, 0, 1)), PROTOCOL),
    "6.5: SETTINGS of five bytes": (lambda w: w.raw(raw(4, 0, 0, bytes(5))), SIZE),
    "6.5: an acknowledgement with settings": (lambda w: w.raw(raw(4, 1, 0, bytes(6))), SIZE),
    "6.5.2: ENABLE_PUSH of 2": (lambda w: w.raw(raw(4, 0, 0, struct.pack(">HI", 2, 2))), PROTOCOL),
    "6.5.2: a window of 2^31": (lambda w: w.raw(raw(4, 0, 0, struct.pack(">HI", 4, 1 << 31))), FLOW),
    "6.5.2: frames of 16383 bytes": (lambda w: w.raw(raw(4, 0, 0, struct.pack(">HI", 5, 16383))), PROTOCOL),
    "6.5.2: frames of 2^24 bytes": (lambda w: w.raw(raw(4, 0, 0, struct.pack(">HI", 5, 1 << 24))), PROTOCOL),
    "6.6: PUSH_PROMISE": (lambda w: w.send(PushPromiseFrame(1, 2, b"\x82", flags=END_HEADERS)), PROTOCOL),
    "6.7: PING on a stream": (lambda w: w.raw(raw(6, 0, 1, bytes(8))), PROTOCOL),
    "6.7: PING of six bytes": (lambda w: w.raw(raw(6, 0, 0, bytes(6))), SIZE),
    "6.8: GOAWAY on a stream": (lambda w: w.raw(raw(7, 0, 1, bytes(8))), PROTOCOL),
    "6.8: GOAWAY of four bytes": (lambda w: w.raw(raw(7, 0, 0, bytes(4))), SIZE),
    "6.9: an update of nothing": (lambda w: w.raw(raw(8, 0, 0, bytes(4))), PROTOCOL),
    "6.9: WINDOW_UPDATE of three bytes": (lambda w: w.raw(raw(8, 0, 0, bytes(3))), SIZE),
    "6.9.1: the connection's window beyond 2^31": (lambda w: w.send(WindowUpdateFrame(0, 2**31 - 1)), FLOW),
    "6.9.2: a stream's window beyond 2^31 by SETTINGS": (
        lambda w: (opened(w), w.send(WindowUpdateFrame(1, 2**31 - 1 - 65535)),
                   w.send(SettingsFrame(0, settings={4: 65536}))), FLOW),
    "6.10: CONTINUATION of nothing": (lambda w: w.raw(raw(9, 4, 1, b"\x82")), PROTOCOL),
    "6.10: CONTINUATION after the block's end": (lambda w: (opened(w), w.raw(raw(9, 4, 1, b"\x82"))), PROTOCOL),
    "8.4: PUSH_PROMISE on an open stream": (
        lambda w: (opened(w), w.send(PushPromiseFrame(1, 2, b"\x82", flags=END_HEADERS))), PROTOCOL),
}  # fmt: skip


@pytest.mark.parametrize("rule", CONNECTION_FAULTS)
def test_a_broken_rule_ends_the_connection(place: GrpcPlace, rule: str) -> None:
    attack, code = CONNECTION_FAULTS[rule]
    with Wire(place.port, greet=not rule.startswith("3.4")) as wire:
        attack(wire)
        assert wire.goaway() == code


def test_the_server_answers_after_all_of_them(place: GrpcPlace) -> None:
    good_client(place.port)


# -- what ends a stream and nothing else

STREAM_FAULTS: dict[str, tuple[Callable[[Wire], object], int]] = {
    "5.1: DATA after END_STREAM": (lambda w: (w.head(1, end=True), w.data(1)), CLOSED),
    "5.1: DATA on a closed stream": (lambda w: (ended(w), w.data(1)), CLOSED),
    "5.1: DATA after our caller's own RST_STREAM": (
        lambda w: (opened(w), w.send(RstStreamFrame(1, 8)), w.data(1)), CLOSED),
    "6.9: an update of nothing": (lambda w: (opened(w), w.raw(raw(8, 0, 1, bytes(4)))), PROTOCOL),
    "6.9.1: a stream's window beyond 2^31": (
        lambda w: (opened(w), w.send(WindowUpdateFrame(1, 2**31 - 1))), FLOW),
    "6.3: PRIORITY of four bytes": (lambda w: (opened(w), w.raw(raw(2, 0, 1, bytes(4)))), SIZE),
    "8.1: trailers that do not end the stream": (lambda w: (opened(w), w.head(1)), PROTOCOL),
    "8.1: trailers with pseudo-headers": (lambda w: (opened(w), w.head(1, end=True)), PROTOCOL),
    "8.2: an upper-case name": (
        lambda w: w.raw(raw(1, 4, 1, literal(*GOOD, (b"X-Thing", b"1")))), PROTOCOL),
    "8.2.1: a space in a name": (lambda w: w.raw(raw(1, 4, 1, literal(*GOOD, (b"x thing", b"1")))), PROTOCOL),
    "8.2.1: a colon in a name": (lambda w: w.raw(raw(1, 4, 1, literal(*GOOD, (b"x:y", b"1")))), PROTOCOL),
    "8.2.1: an empty name": (lambda w: w.raw(raw(1, 4, 1, literal(*GOOD, (b"", b"1")))), PROTOCOL),
    "8.2.1: NUL in a value": (lambda w: w.raw(raw(1, 4, 1, literal(*GOOD, (b"x", b"a\0b")))), PROTOCOL),
    "8.2.1: a line feed in a value": (lambda w: w.raw(raw(1, 4, 1, literal(*GOOD, (b"x", b"a\nb")))), PROTOCOL),
    "8.2.1: a value that begins with a space": (lambda w: w.raw(raw(1, 4, 1, literal(*GOOD, (b"x", b" a")))), PROTOCOL),
    "8.2.1: a line feed in the path": (
        lambda w: w.raw(raw(1, 4, 1, literal(*GOOD[:2], (b":path", b"/a\nb"), GOOD[3]))), PROTOCOL),
    "8.2.2: connection": (lambda w: w.head(1, LIVE, ("connection", "close")), PROTOCOL),
    "8.2.2: transfer-encoding": (lambda w: w.head(1, LIVE, ("transfer-encoding", "chunked")), PROTOCOL),
    "8.2.2: upgrade": (lambda w: w.head(1, LIVE, ("upgrade", "h2c")), PROTOCOL),
    "8.2.2: te other than trailers": (lambda w: w.head(1, te="gzip"), PROTOCOL),
    "8.3: an unknown pseudo-header": (lambda w: w.raw(raw(1, 4, 1, literal((b":x", b"1"), *GOOD))), PROTOCOL),
    "8.3: a response's pseudo-header": (lambda w: w.raw(raw(1, 4, 1, literal((b":status", b"200"), *GOOD))), PROTOCOL),
    "8.3: a pseudo-header after a header": (
        lambda w: w.raw(raw(1, 4, 1, literal(GOOD[0], GOOD[3], GOOD[1], GOOD[2]))), PROTOCOL),
    "8.3: a pseudo-header twice": (lambda w: w.raw(raw(1, 4, 1, literal(GOOD[0], *GOOD))), PROTOCOL),
    "8.3.1: no method": (lambda w: w.raw(raw(1, 4, 1, literal(*GOOD[1:]))), PROTOCOL),
    "8.3.1: no scheme": (lambda w: w.raw(raw(1, 4, 1, literal(GOOD[0], *GOOD[2:]))), PROTOCOL),
    "8.3.1: no path": (lambda w: w.raw(raw(1, 4, 1, literal(*GOOD[:2], GOOD[3]))), PROTOCOL),
    "8.3.1: an empty path": (
        lambda w: w.raw(raw(1, 4, 1, literal(*GOOD[:2], (b":path", b""), GOOD[3]))), PROTOCOL),
    "two tokens": (lambda w: w.head(1, LIVE, ("authorization", "Bearer a"), ("authorization", "Bearer b")), PROTOCOL),
}  # fmt: skip


@pytest.mark.parametrize("rule", STREAM_FAULTS)
def test_a_broken_rule_ends_its_stream_alone(place: GrpcPlace, rule: str) -> None:
    attack, code = STREAM_FAULTS[rule]
    with Wire(place.port) as wire:
        attack(wire)
        assert wire.reset_of(1) == code
        assert wire.call(9)[1]["grpc-status"] == "0", "other streams go on"


# -- what is allowed, or must be ignored


def test_unknown_frames_settings_and_flags_are_ignored(place: GrpcPlace) -> None:
    with Wire(place.port) as wire:
        wire.raw(raw(0x42, 0xFF, 7, b"whatever") + raw(6, 0xFE, 0, bytes(8)))
        wire.send(SettingsFrame(0, settings={0x99: 5}))
        assert wire.call(1)[1]["grpc-status"] == "0"


def test_the_reserved_bit_of_a_stream_is_ignored(place: GrpcPlace) -> None:
    with Wire(place.port) as wire:
        wire.raw(raw(1, 4, 1 | 1 << 31, wire.block()))
        wire.data(1)
        assert wire.answer(1)[1]["grpc-status"] == "0"


def test_padding_and_priority_are_taken_off(place: GrpcPlace) -> None:
    with Wire(place.port) as wire:
        wire.raw(raw(1, 4 | 8 | 32, 1, b"\x03" + bytes(5) + wire.block() + bytes(3)))
        wire.raw(raw(0, 1 | 8, 1, b"\x07" + EMPTY + bytes(7)))
        assert wire.answer(1)[1]["grpc-status"] == "0"
        wire.send(PriorityFrame(1, depends_on=0, stream_weight=15, exclusive=True), PriorityFrame(99))
        wire.alive()


def test_a_block_may_come_in_parts_and_a_message_in_crumbs(place: GrpcPlace) -> None:
    with Wire(place.port) as wire:
        block = wire.block(INFER)
        wire.raw(raw(1, 0, 1, block[:5]) + raw(9, 0, 1, block[5:6]) + raw(9, 4, 1, block[6:]))
        body = infer_request(2)
        for byte in b"\0" + struct.pack(">I", len(body)) + body:
            wire.data(1, bytes((byte,)), end=False)
        wire.data(1, b"")
        data, trailers = wire.answer(1)
        assert trailers["grpc-status"] == "0"
        assert len(data) > 50


def test_bytes_may_come_one_by_one(place: GrpcPlace) -> None:
    with Wire(place.port) as wire:
        frames = HeadersFrame(1, wire.block(), flags=END_HEADERS).serialize()
        for byte in frames + DataFrame(1, EMPTY, flags=END_STREAM).serialize():
            wire.raw(bytes((byte,)))
        assert wire.answer(1)[1]["grpc-status"] == "0"


def test_frames_on_streams_that_we_reset_are_no_fault(place: GrpcPlace) -> None:
    """What was under way when we said RST_STREAM (section 5.1, closed)."""
    with Wire(place.port) as wire:
        wire.head(1, te="gzip")
        wire.data(1, b"x" * 100, end=False)
        wire.data(1, b"x" * 100)
        wire.send(WindowUpdateFrame(1, 5), RstStreamFrame(1, 8))
        assert wire.reset_of(1) == PROTOCOL
        assert wire.call(3)[1]["grpc-status"] == "0"


def test_pings_are_answered_in_kind(place: GrpcPlace) -> None:
    with Wire(place.port) as wire:
        wire.send(PingFrame(0, b"abcdefgh"))
        seen = wire.frames(lambda all_: any(isinstance(frame, PingFrame) for frame in all_))
        assert seen[-1].opaque_data == b"abcdefgh"
        assert "ACK" in seen[-1].flags


def test_header_tables_stay_in_step(place: GrpcPlace) -> None:
    """Blocks that change the table, blocks that are looked up, trailers and refused heads, in any order."""
    with Wire(place.port) as wire:
        for number in range(40):
            stream = 2 * number + 1
            extra = [("x-a", str(number % 3))] if number % 2 else []
            if number % 7 == 3:
                wire.head(stream, LIVE, ("x-bad", str(number)), te="gzip")
                continue
            if number % 5 == 2:
                wire.encoder.header_table_size = 64 * (number % 4)
            wire.head(stream, LIVE, *extra)
            if number % 4 == 1:
                wire.data(stream, EMPTY, end=False)
                wire.send(
                    HeadersFrame(stream, wire.encoder.encode([("x-t", "1")]), flags=["END_HEADERS", "END_STREAM"])
                )
            else:
                wire.data(stream)
            assert wire.answer(stream)[1]["grpc-status"] == "0"


# -- flow control


def test_answers_wait_for_the_streams_window(place: GrpcPlace) -> None:
    with Wire(place.port, settings={4: 0}) as wire:
        wire.head(1, INFER)
        body = infer_request(1000)
        wire.data(1, b"\0" + struct.pack(">I", len(body)) + body)
        wire.alive()
        wire.send(WindowUpdateFrame(1, 10))
        seen = wire.frames(lambda all_: any(isinstance(frame, DataFrame) for frame in all_))
        assert len(seen[-1].data) == 10
        wire.alive()
        wire.send(SettingsFrame(0, settings={4: 500}))
        seen = wire.frames(lambda all_: any(isinstance(frame, DataFrame) for frame in all_))
        assert len(seen[-1].data) == 500, "SETTINGS move the windows of open streams, too (section 6.9.2)"
        wire.send(WindowUpdateFrame(1, 1 << 20))
        data, trailers = wire.answer(1)
        assert trailers["grpc-status"] == "0"
        assert len(data) > 10_000


def test_a_window_may_be_negative(place: GrpcPlace) -> None:
    with Wire(place.port, settings={4: 100}) as wire:
        wire.head(1, INFER)
        body = infer_request(1000)
        wire.data(1, b"\0" + struct.pack(">I", len(body)) + body)
        wire.frames(lambda all_: any(isinstance(frame, DataFrame) for frame in all_))
        wire.send(SettingsFrame(0, settings={4: 0}), WindowUpdateFrame(1, 100))
        wire.alive()
        wire.send(WindowUpdateFrame(1, 7))
        seen = wire.frames(lambda all_: any(isinstance(frame, DataFrame) for frame in all_))
        assert len(seen[-1].data) == 7


def test_waiting_answers_share_the_connections_window(place: GrpcPlace) -> None:
    def sizes(seen: list[Frame]) -> dict[int, int]:
        found = [(frame.stream_id, len(frame.data)) for frame in seen if isinstance(frame, DataFrame)]
        return {stream: sum(size for number, size in found if number == stream) for stream in (1, 3, 5)}

    with Wire(place.port, settings={4: 1 << 20}) as wire:
        body = infer_request(5000)
        for stream in (1, 3, 5):
            wire.head(stream, INFER)
            wire.data(stream, b"\0" + struct.pack(">I", len(body)) + body)
        wire.frames(lambda seen: sum(sizes(seen).values()) == 65535)
        wire.alive()
        time.sleep(0.3)  # the other two are answered, and wait too
        wire.send(WindowUpdateFrame(0, 80_000))
        found = sizes(wire.frames(lambda seen: sum(sizes(seen).values()) == 80_000))
        assert min(found[3], found[5]) > 20_000, "a frame of each in turn"


def test_frames_are_no_larger_than_the_client_takes(place: GrpcPlace) -> None:
    with Wire(place.port, settings={4: 1 << 20, 5: 20_000}) as wire:
        wire.send(WindowUpdateFrame(0, 1 << 20))
        body = infer_request(4000)
        wire.head(1, INFER)
        wire.data(1, b"\0" + struct.pack(">I", len(body)) + body)
        seen = wire.frames(lambda all_: bool(all_) and "END_STREAM" in all_[-1].flags)
        sizes = [len(frame.data) for frame in seen if isinstance(frame, DataFrame)]
        assert max(sizes) == 20_000


def test_more_data_than_a_window_takes(tmp_path: Path) -> None:
    with GrpcPlace(tmp_path, Http2Limits(window_bytes=100_000, stream_bytes=70_000)) as place:
        with Wire(place.port) as wire:
            wire.head(1, INFER)
            wire.raw(raw(0, 0, 1, b"\0" + struct.pack(">I", 90_000) + bytes(75_000)))
            assert wire.reset_of(1) == FLOW
        with Wire(place.port) as wire:
            wire.head(1, INFER)
            wire.raw(raw(0, 0, 1, b"\0" + struct.pack(">I", 120_000) + bytes(110_000)))
            assert wire.goaway() == FLOW


def test_answers_that_no_window_lets_out_are_bounded(tmp_path: Path) -> None:
    body = infer_request()
    framed = b"\0" + struct.pack(">I", len(body)) + body
    with GrpcPlace(tmp_path, Http2Limits(queued_bytes=20)) as place, Wire(place.port, settings={4: 0}) as wire:
        for stream in (1, 3):
            wire.head(stream, INFER)
            wire.data(stream, framed)
            if stream == 1:
                wire.frames(lambda all_: any(isinstance(frame, HeadersFrame) for frame in all_))
        assert wire.reset_of(3) == REFUSED
        wire.send(WindowUpdateFrame(1, 1000))
        wire.frames(lambda all_: any("END_STREAM" in frame.flags for frame in all_))
        wire.head(5, INFER)
        wire.data(5, framed)
        wire.send(WindowUpdateFrame(5, 1000))
        wire.frames(lambda all_: any("END_STREAM" in frame.flags and frame.stream_id == 5 for frame in all_))


def test_large_messages_pass_in_both_directions(place: GrpcPlace) -> None:
    with Wire(place.port, settings={4: 2**31 - 1}) as wire:
        wire.send(WindowUpdateFrame(0, 2**30))
        body = infer_request(10_000)
        framed = b"\0" + struct.pack(">I", len(body)) + body
        wire.head(1, INFER)
        for at in range(0, len(framed), 16_384):
            wire.data(1, framed[at : at + 16_384], end=at + 16_384 >= len(framed))
        data, trailers = wire.answer(1)
        assert trailers["grpc-status"] == "0"
        assert len(data) > 160_000


# -- floods


def continuations(wire: Wire) -> None:
    """CVE-2024-27316: a block without end."""
    wire.raw(raw(1, 0, 1, b"\x82"))
    for _ in range(10_000):
        if wire.ended:
            return
        wire.raw(raw(9, 0, 1, b"\0\x01x\x01y") * 10)


def rapid_resets(wire: Wire) -> None:
    """CVE-2023-44487."""
    block = wire.block(INFER)
    again = wire.block(INFER)
    for number in range(20_000):
        if wire.ended:
            return
        stream = 2 * number + 1
        wire.raw(raw(1, 4, stream, again if number else block) + raw(3, 0, stream, struct.pack(">I", 8)))


def made_resets(wire: Wire) -> None:
    """CVE-2025-8671: the server is made to reset."""
    block = wire.block(INFER)
    again = wire.block(INFER)
    for number in range(20_000):
        if wire.ended:
            return
        stream = 2 * number + 1
        wire.raw(raw(1, 4, stream, again if number else block) + raw(8, 0, stream, bytes(4)))


def flood(*frames: bytes) -> Callable[[Wire], None]:
    def sending(wire: Wire) -> None:
        wire.head(1)
        for _ in range(2_000):
            if wire.ended:
                return
            wire.raw(b"".join(frames) * 50)

    return sending


FLOODS: dict[str, Callable[[Wire], None]] = {
    "CONTINUATION without end": continuations,
    "CONTINUATION of nothing without end": lambda w: w.raw(raw(1, 0, 1) + raw(9, 0, 1) * 100_000),
    "streams opened and reset": rapid_resets,
    "streams that we are made to reset": made_resets,
    "SETTINGS": flood(raw(4, 0, 0)),
    "PING": flood(raw(6, 0, 0, bytes(8))),
    "acknowledged PING": flood(raw(6, 1, 0, bytes(8))),
    "PRIORITY": flood(raw(2, 0, 3, bytes(5))),
    "empty DATA": flood(raw(0, 0, 1)),
    "DATA byte by byte": flood(raw(0, 0, 1, b"\0")),
    "padding alone": flood(raw(0, 8, 1, b"\0")),
    "WINDOW_UPDATE of one byte": flood(raw(8, 0, 0, struct.pack(">I", 1))),
    "unknown frames": flood(raw(99, 0, 0)),
    "GOAWAY": flood(raw(7, 0, 0, bytes(8))),
    "RST_STREAM of a closed stream": lambda w: (ended(w), [w.raw(raw(3, 0, 1, bytes(4)) * 100) for _ in range(200)]),
    "hundreds of settings": lambda w: w.raw(raw(4, 0, 0, struct.pack(">HI", 4, 1000) * 500)),
    "a header list that unpacks to megabytes": lambda w: w.raw(
        raw(1, 4, 1, literal(*GOOD) + b"\x40\x01x\x7f\x81\x17" + bytes(3200) + b"\xbe" * 20_000)
    ),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_ends_the_connection_soon(place: GrpcPlace, name: str) -> None:
    with Wire(place.port) as wire:
        FLOODS[name](wire)
        # Long before patience is over: the count ends it, not the clock.
        assert wire.goaway(seconds=4) in (CALM, COMPRESSION)
    good_client(place.port)


def test_a_client_that_answers_pings_and_updates_windows_is_none(place: GrpcPlace) -> None:
    """What grpcio sends beside each request costs a good client nothing in the end."""
    with Wire(place.port) as wire:
        for number in range(600):
            assert wire.call(2 * number + 1)[1]["grpc-status"] == "0"
            wire.send(PingFrame(0, b"bdpprobe"), WindowUpdateFrame(0, 100), WindowUpdateFrame(0, 5))
        wire.alive()


def test_more_streams_than_announced_are_refused(place: GrpcPlace) -> None:
    with Wire(place.port) as wire:
        for number in range(place.limits.streams + 1):
            wire.head(2 * number + 1, INFER)
        assert wire.reset_of(2 * place.limits.streams + 1) == REFUSED
        wire.send(RstStreamFrame(1, 8))
        assert wire.call(2 * place.limits.streams + 3)[1]["grpc-status"] == "0"


def test_nothing_is_kept_of_what_was_cut_off(place: GrpcPlace) -> None:
    def held() -> object:
        return sum(connection.held for connection in place.state.connections)

    before = place.on_loop(held)
    for cut in (lambda w: w.send(RstStreamFrame(1, 8)), lambda w: w.socket.close()):
        with Wire(place.port) as wire:
            wire.head(1, INFER)
            wire.data(1, b"\0" + struct.pack(">I", 1000) + bytes(500), end=False)
            wire.alive()
            cut(wire)
            until(lambda: place.on_loop(held) == before)
    until(lambda: place.on_loop(lambda: place.desk.in_flight) == 0)


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


# -- time: a listener with little patience

HASTY = Http2Limits(head_s=0.5, body_s=0.5, read_s=0.5, ping_s=0.5, idle_s=1.0)


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GrpcPlace]:
    with GrpcPlace(tmp_path_factory.mktemp("hasty"), HASTY) as place:
        yield place


def zero_window(wire: Wire) -> None:
    wire.send(SettingsFrame(0, settings={4: 0}))
    wire.head(1, INFER)
    body = infer_request()
    wire.data(1, b"\0" + struct.pack(">I", len(body)) + body)


SLOW: dict[str, tuple[Callable[[Wire], object], int]] = {
    "no preface": (lambda w: w.raw(PREFACE[:10]), CALM),
    "no SETTINGS": (lambda w: w.raw(PREFACE), CALM),
    "no acknowledgement": (
        lambda w: (w.raw(PREFACE + SettingsFrame(0).serialize()), w.head(1)), SETTINGS_TIMEOUT),
    "a frame that does not end": (lambda w: w.raw(raw(6, 0, 0, b"1234", size=8)), CALM),
    "a block that does not end": (lambda w: w.raw(raw(1, 0, 1, b"\x82")), CALM),
}  # fmt: skip


@pytest.mark.parametrize("name", SLOW)
def test_who_is_too_slow_is_sent_away(hasty: GrpcPlace, name: str) -> None:
    attack, code = SLOW[name]
    with Wire(hasty.port, greet=name.startswith("a ")) as wire:
        attack(wire)
        assert wire.goaway() == code


@pytest.mark.parametrize("begun", [b"", b"\0\0\0", b"\0\0\0\x10\0abc"])
def test_a_message_that_does_not_come_is_refused(hasty: GrpcPlace, begun: bytes) -> None:
    with Wire(hasty.port) as wire:
        wire.head(1, INFER)
        wire.data(1, begun, end=False)
        assert wire.answer(1)[1]["grpc-status"] == "4"


def test_a_window_that_stays_shut_costs_the_stream(hasty: GrpcPlace) -> None:
    with Wire(hasty.port) as wire:
        zero_window(wire)
        assert wire.reset_of(1) == CANCEL
        until(lambda: hasty.on_loop(lambda: sum(c.out.queued for c in hasty.state.connections)) == 0)


def test_a_connections_window_that_stays_shut_costs_the_connection(hasty: GrpcPlace) -> None:
    with Wire(hasty.port, settings={4: 2**31 - 1}) as wire:
        body = infer_request(5000)
        wire.head(1, INFER)
        wire.data(1, b"\0" + struct.pack(">I", len(body)) + body)
        assert wire.goaway() == CALM


def test_a_silent_client_with_an_open_stream_is_asked_whether_it_lives(hasty: GrpcPlace) -> None:
    with Wire(hasty.port) as wire:
        wire.head(1, "/inference.GRPCInferenceService/ModelStreamInfer")
        seen = wire.frames(lambda all_: any(isinstance(f, PingFrame) and "ACK" not in f.flags for f in all_))
        assert seen
        wire.until_closed(seconds=5)


def test_an_idle_client_is_let_go(hasty: GrpcPlace) -> None:
    with Wire(hasty.port) as wire:
        ended(wire)
        assert wire.goaway(seconds=5) == NO_ERROR
    good_client(hasty.port)


# -- leaving


def test_leaving_is_said_twice_and_loses_nothing(tmp_path: Path) -> None:
    """Section 6.8: first without a last stream, then, when the client must know, with it."""
    with GrpcPlace(tmp_path) as place, Wire(place.port) as wire:
        wire.head(1, INFER)
        wire.alive()
        place.on_loop(place.state.leave)
        seen = wire.frames(lambda all_: any(isinstance(f, PingFrame) and "ACK" not in f.flags for f in all_))
        (first,) = [frame for frame in seen if isinstance(frame, GoAwayFrame)]
        assert (first.last_stream_id, first.error_code) == (2**31 - 1, NO_ERROR)
        # What was sent before the first GOAWAY was read is still taken.
        wire.head(3, LIVE)
        wire.data(3)
        assert wire.answer(3)[1]["grpc-status"] == "0"
        wire.send(PingFrame(0, seen[-1].opaque_data, flags=ACK))
        seen = wire.frames(lambda all_: any(isinstance(frame, GoAwayFrame) for frame in all_))
        assert (seen[-1].last_stream_id, seen[-1].error_code) == (3, NO_ERROR)
        wire.head(5, LIVE)
        wire.data(5)
        body = infer_request()
        wire.data(1, b"\0" + struct.pack(">I", len(body)) + body)
        assert wire.answer(1)[1]["grpc-status"] == "0"
        assert not [frame for frame in wire.until_closed() if frame.stream_id == 5], "stream 5 came after the last"


# -- anything

_kinds = st.one_of(st.integers(0, 12), st.integers(0, 255))
_payloads = st.one_of(
    st.binary(max_size=40),
    st.just(literal(*GOOD)),
    st.just(literal(*GOOD[:2], (b":path", INFER.encode()), GOOD[3])),
    st.just(EMPTY),
    st.just(b"\0" + struct.pack(">I", len(infer_request())) + infer_request()),
    st.builds(
        lambda pairs: b"".join(struct.pack(">HI", *pair) for pair in pairs),
        st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2**32 - 1)), max_size=4),
    ),
)  # fmt: skip
_frames = st.builds(
    raw,
    _kinds,
    st.one_of(st.sampled_from([0, 1, 4, 5, 8, 32]), st.integers(0, 255)),
    st.one_of(st.integers(0, 9), st.integers(0, 2**32 - 1)),
    _payloads,
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frames=st.lists(_frames, min_size=1, max_size=12), tail=st.binary(max_size=20), greet=st.booleans())
def test_no_frames_whatever_are_too_much(place: GrpcPlace, frames: list[bytes], tail: bytes, greet: bool) -> None:
    """Never an exception that nobody catches (`GrpcPlace` collects those), never a hang."""
    with Wire(place.port, greet=greet) as wire:
        wire.raw((b"" if greet else PREFACE) + b"".join(frames) + tail)
        wire.socket.shutdown(1)
        wire.until_closed(seconds=20)


def test_the_server_is_as_it_was(place: GrpcPlace) -> None:
    good_client(place.port)
    assert place.on_loop(lambda: place.desk.in_flight) == 0
    assert not place.faults


def test_the_independent_client_is_one() -> None:
    """hpack decodes what the listener's own literals say."""
    assert hpack.Decoder().decode(literal(*GOOD))[0] == (":method", "POST")
    assert ContinuationFrame(1).type == 9
