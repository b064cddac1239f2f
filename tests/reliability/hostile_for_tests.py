"""Hostile requests in bulk: broken bodies, broken heads, broken framing, from a seed.

Hostile(seed) -> case (what, bytes, how its connection goes on) ; a case must be answered with a 4xx, or be cut off
"""

from __future__ import annotations

import gzip
import json
import random
import struct
import zlib
from functools import cache
from typing import NamedTuple

from tests.reliability.clients_for_tests import BODY, PATH, post

HOST = b"Host: localhost\r\n"
LINE = b"POST " + PATH.encode() + b" HTTP/1.1\r\n"
WORDS = (
    b"inputs", b"outputs", b"parameters", b"data", b"shape", b"datatype", b"name", b"FP32", b"BYTES", b"null", b"NaN",
    b"-Infinity", b"1e999", b"-1", b"9223372036854775808", b'""', b"[]", b"{}", b"\\ud800", b"\xff\xfe", b"\0", b"true",
)  # fmt: skip


class Case(NamedTuple):
    """One hostile request; `body_only` may follow others on a connection that is kept."""

    what: str
    data: bytes
    body_only: bool


class Hostile:
    """Cases without end, the same ones from the same seed."""

    def __init__(self, seed: int = 0) -> None:
        self._chance = random.Random(seed)
        self._makers = (
            self._spoiled, self._spoiled, self._noise, self._cut, self._numbers, self._shapes, self._binary,
            self._instances, self._coded, self._path, self._header, self._framing, self._chunks, self._pipelined,
        )  # fmt: skip

    def case(self) -> Case:
        """The next one."""
        return self._chance.choice(self._makers)()

    # -- bodies that no signature fits; on a connection that goes on

    def _spoiled(self) -> Case:
        body = bytearray(BODY)
        for _ in range(self._chance.randint(1, 6)):
            at = self._chance.randrange(len(body))
            how = self._chance.random()
            if how < 0.4:
                body[at] ^= 1 << self._chance.randrange(8)
            elif how < 0.7:
                body[at:at] = self._chance.choice(WORDS)
            else:
                del body[at : at + self._chance.randint(1, 9)]
        return self._body("a spoiled body", bytes(body) + b"\x01")

    def _noise(self) -> Case:
        return self._body("noise", b"\x01" + self._chance.randbytes(self._chance.randint(0, 400)))

    def _cut(self) -> Case:
        return self._body("a body cut off", BODY[: self._chance.randrange(len(BODY))])

    def _numbers(self) -> Case:
        bad = self._chance.choice(["x", None, True, [1], {}, 1e39, 10**400, "1"])
        data = [1.0, 2.0, 3.0, bad]
        return self._body("a value that is none", json.dumps(tensor(data=data)).encode())

    def _shapes(self) -> Case:
        shape = self._chance.choice([[2**62, 4], [-1, 4], [4], [0, 4], [1.5, 4], "x", None, [[1], 4], [1, 5]])
        return self._body("a shape that is none", json.dumps(tensor(shape=shape)).encode())

    def _binary(self) -> Case:
        size = self._chance.choice([0, 1, 3, 15, 17, 2**31, -4, "16", 2**63])
        head = json.dumps(tensor(data=None, parameters={"binary_data_size": size})).encode()
        said = self._chance.choice([len(head), len(head) + 1, 10**9, -1, "x"])
        raw = self._chance.randbytes(self._chance.choice([0, 1, 15, 17, 64]))
        return Case("raw bytes", post(PATH, head + raw, f"Inference-Header-Content-Length: {said}"), True)

    def _instances(self) -> Case:
        rows = self._chance.choice([[[1, 2, 3]], [["a"] * 4], [{"x": 1}], {}, None, "x", [[[1, 2, 3, 4]]], [None]])
        return Case("V1 rows", post("/v1/models/linear:predict", json.dumps({"instances": rows}).encode()), True)

    def _coded(self) -> Case:
        coding = self._chance.choice(["gzip", "deflate", "br", "gzip, gzip", "identity, gzip"])
        body = self._chance.choice([b"\x1f\x8b" + self._chance.randbytes(40), BODY, gzip.compress(BODY)[:-5], bomb(1)])
        if coding == "gzip" and self._chance.random() < 0.2:
            body = zlib.compress(BODY)
        return Case("a body coded otherwise", post(PATH, body, f"Content-Encoding: {coding}"), True)

    def _path(self) -> Case:
        paths = [
            "/v2/models/%2e%2e%2fetc/infer",
            "/v2/models/linear/versions/9/infer",
            "/v2/models/" + "a" * 3000 + "/infer",
        ]
        paths += ["/v2/models/linear/infer/..", "//v2/models/linear/infer", "/v2/models/lin%00ear/infer", "/metrics/x"]
        return Case("a path that is none", post(self._chance.choice(paths)), True)

    # -- heads and framings; the connection ends

    def _header(self) -> Case:
        lines = [
            b"X: " + b"a" * 40_000,
            b"X : y",
            b"X: a\0b",
            b" folded: y",
            b"Content-Length: 5",
            b"\xff\xfe: y",
            b": y",
        ]
        lines += [b"Transfer-Encoding: chunked", b"\r", b"X\n: y", b"Host: other", b"Content-Length: 0x10"]
        return Case(
            "a head that is none",
            LINE + HOST + self._chance.choice(lines) + b"\r\nContent-Length: 4\r\n\r\nabcd",
            False,
        )

    def _framing(self) -> Case:
        lengths = [b"-1", b"+4", b"4, 4", b"99999999999999999999", b"4 4", b"0x4", b"4;", b"\xb2"]
        return Case(
            "a length that is none",
            LINE + HOST + b"Content-Length: " + self._chance.choice(lengths) + b"\r\n\r\nabcd",
            False,
        )

    def _chunks(self) -> Case:
        chunk = [
            b"zz\r\n",
            b"-1\r\n",
            b"FFFFFFFFFFFFFFFFF\r\n",
            b"4\r\nabcdX",
            b"4\nabcd\r\n",
        ]
        return Case("chunks", LINE + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + self._chance.choice(chunk), False)

    def _pipelined(self) -> Case:
        """A smuggled second request behind a doubtful length."""
        hidden = post()
        head = LINE + HOST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        return Case("a smuggled request", head + hidden, False)

    def _body(self, what: str, body: bytes) -> Case:
        return Case(what, post(body=body), True)


def tensor(**changes: object) -> dict[str, object]:
    """A V2 body of one tensor with something changed; None takes a field out."""
    one = {"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [1.0, 2.0, 3.0, 4.0]} | changes
    return {"inputs": [{name: value for name, value in one.items() if value is not None or name == "shape"}]}


@cache
def bomb(mebibytes: int) -> bytes:
    """So much of nothing, compressed a thousand times smaller; made once, for who makes it keeps others waiting."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join((*(packer.compress(bytes(1 << 20)) for _ in range(mebibytes)), packer.flush()))


def chunk(data: bytes) -> bytes:
    """One chunk of a body."""
    return b"%x\r\n" % len(data) + data + b"\r\n"


# -- frames of HTTP/2, for a listener that speaks gRPC

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int, stream: int, payload: bytes, *, length: int | None = None) -> bytes:
    """A frame; `length` may lie."""
    size = len(payload) if length is None else length
    return struct.pack(">I", size)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def hostile_frames(chance: random.Random) -> bytes:
    """A connection's bytes that no peer may send."""
    settings = frame(4, 0, 0, b"")
    known = [
        frame(0, 0, 0, b"data on stream zero"),
        frame(1, 4, 2, b"\x82"),
        frame(1, 4, 1, b"\xff" * 100),
        frame(9, 4, 1, b"continuation of nothing"),
        frame(4, 0, 1, b""),
        frame(4, 0, 0, b"12345"),
        frame(4, 0, 0, struct.pack(">HI", 4, 2**31)),
        frame(8, 0, 0, struct.pack(">I", 0)),
        frame(8, 0, 0, struct.pack(">I", 2**31 - 1)) * 3,
        frame(6, 0, 0, b"short"),
        frame(0, 8, 1, b"\xff" + b"x"),
        frame(5, 4, 1, b"push"),
        frame(1, 0, 1, b"\x82" * 9) + frame(9, 0, 1, b"\x00" * 16_000) * 40,
        frame(3, 0, 1, b"\0\0\0\0"),
        frame(0, 0, 1, b"", length=2**24 - 1),
        frame(1, 4, 1, b"\x82") + frame(3, 0, 1, b"\0\0\0\x08"),
        chance.randbytes(chance.randint(1, 200)),
    ]
    return PREFACE + settings + b"".join(chance.choice(known) for _ in range(chance.randint(1, 4)))
