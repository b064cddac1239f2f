"""The public key of a package's signer: ECDSA on the curves of OpenSSF model signing, verified with Python alone.

    PEM -> read_public (one form: uncompressed, on a named curve) -> VerifyingKey -> verify(data, signature)

Everything here is public, so nothing has to take the same time whatever the numbers are; keys that sign are in
`penstock.packages.keys`. Formulas: SEC 1 version 2, 2.2.1 and 4.1.4; constants: NIST SP 800-186; a is -3 on each curve.
docs/decisions/0010-public-keys.md says why, and the tests hold it against `cryptography`.
"""

from __future__ import annotations

import base64
import hashlib
import re
import textwrap
from pathlib import Path
from typing import NamedTuple

from penstock.errors import BadConfig
from penstock.packages.digests import sha256_bytes

PUBLIC = "package.pub"

Point = tuple[int, int] | None
"""A point of a curve; None is the one at infinity."""


class NistCurve(NamedTuple):
    """A curve y^2 = x^3 - 3x + b over the numbers below p, with the hash that goes with it.

    Attributes:
        n: The order of its base point; no shorter than the hash.
        lead: DER of a public key up to its two coordinates.
    """

    name: str
    hash: str
    p: int
    b: int
    n: int
    base: tuple[int, int]
    lead: bytes

    @property
    def width(self) -> int:
        """Bytes of a coordinate."""
        return (self.p.bit_length() + 7) // 8


P256 = NistCurve(
    "secp256r1",
    "sha256",
    0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF,
    0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
    0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    (
        0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
        0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
    ),
    bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004"),
)
P384 = NistCurve(
    "secp384r1",
    "sha384",
    2**384 - 2**128 - 2**96 + 2**32 - 1,
    0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF,
    0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
    (
        0xAA87CA22BE8B05378EB1C71EF320AD746E1D3B628BA79B9859F741E082542A385502F25DBF55296C3A545E3872760AB7,
        0x3617DE4A96262C6F5D9E98BF9292DC29F8F41DBD289A147CE9DA3113B5F0B8C00A60B1CE1D7E819D7A431D7C90EA0E5F,
    ),
    bytes.fromhex("3076301006072a8648ce3d020106052b8104002203620004"),
)
P521 = NistCurve(
    "secp521r1",
    "sha512",
    2**521 - 1,
    0x0051953EB9618E1C9A1F929A21A0B68540EEA2DA725B99B315F3B8B489918EF109E156193951EC7E937B1652C0BD3BB1BF073573DF883D2C34F1EF451FD46B503F00,
    0x01FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFA51868783BF2F966B7FCC0148F709A5D03BB5C9B8899C47AEBB6FB71E91386409,
    (
        0x00C6858E06B70404E9CD9E3ECB662395B4429C648139053FB521F828AF606B4D3DBAA14B5E77EFE75928FE1DC127A2FFA8DE3348B3C1856A429BF97E7E31C2E5BD66,
        0x011839296A789A3BC0045C8A5FB42C7D1BD998F54449579B446817AFBD17273E662C97EE72995EF42640C550B9013FAD0761353C7086A272C24088BE94769FD16650,
    ),
    bytes.fromhex("30819b301006072a8648ce3d020106052b810400230381860004"),
)
CURVES = (P256, P384, P521)
_PEM = re.compile(rb"-----BEGIN PUBLIC KEY-----\s([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----")


class VerifyingKey(NamedTuple):
    """A point of a curve, from `read_public`."""

    curve: NistCurve
    point: tuple[int, int]

    def verify(self, data: bytes, signature: bytes) -> bool:
        """Whether `signature` (DER) is this key's over `data`; bytes that are no signature are a plain no."""
        curve, n = self.curve, self.curve.n
        try:
            r, s = _numbers(signature)
        except (ValueError, IndexError, OverflowError):
            return False
        if not (0 < r < n and 0 < s < n):
            return False
        # No hash here is longer than its curve's order, so none has to be cut.
        digest = int.from_bytes(hashlib.new(curve.hash, data).digest(), "big")
        inverse = pow(s, -1, n)
        found = _sum(curve, digest * inverse % n, r * inverse % n, self.point)
        return found is not None and found[0] % n == r

    @property
    def pem(self) -> bytes:
        """The key in PEM form (SubjectPublicKeyInfo)."""
        width = self.curve.width
        der = self.curve.lead + b"".join(number.to_bytes(width, "big") for number in self.point)
        lines = textwrap.wrap(base64.b64encode(der).decode(), 64)
        return "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""]).encode()

    @property
    def hint(self) -> str:
        """Hex SHA-256 of the PEM form: how a bundle names its signer."""
        return sha256_bytes(self.pem)


def read_public(pem: bytes) -> VerifyingKey:
    """A public key in PEM form.

    Raises:
        ValueError: It is none, of another kind or form, or not on its curve.
    """
    found = _PEM.findall(pem)
    if len(found) != 1:
        raise ValueError("this is no public key in PEM form")
    der = base64.b64decode(b"".join(found[0].split()), validate=True)
    for curve in CURVES:
        lead, width = curve.lead, curve.width
        if der.startswith(lead) and len(der) == len(lead) + 2 * width:
            x, y = int.from_bytes(der[-2 * width : -width], "big"), int.from_bytes(der[-width:], "big")
            if x >= curve.p or y >= curve.p or (y * y - x**3 + 3 * x - curve.b) % curve.p:
                raise ValueError("the key is no point of its curve")
            return VerifyingKey(curve, (x, y))
    raise ValueError("the key is on another curve, or in another form")


def load_public_key(path: Path) -> VerifyingKey:
    """A public key from a PEM file.

    Raises:
        BadConfig: It is none, or of a kind that does not sign packages.
    """
    try:
        return read_public(path.read_bytes())
    except (ValueError, OSError) as error:
        raise BadConfig(
            f"{path.name} is no elliptic-curve public key in PEM form", "give the package.pub of the signer"
        ) from error


def _numbers(signature: bytes) -> tuple[int, int]:
    """The two numbers of a signature: a DER sequence of two integers in its only spelling.

    Raises:
        ValueError: It is another; so do IndexError and OverflowError.
    """
    r, at = _integer(signature, 3 if signature[1] == 0x81 else 2)
    s, _ = _integer(signature, at)
    body = _der(0x02, _signed(r)) + _der(0x02, _signed(s))
    # What is not what we would write is longer, padded, negative, or has something behind it.
    if _der(0x30, body) != signature:
        raise ValueError("this is no signature")
    return r, s


def _integer(data: bytes, at: int) -> tuple[int, int]:
    """The number that starts there, and where it ends."""
    end = at + 2 + data[at + 1]
    return int.from_bytes(data[at + 2 : end], "big"), end


def _signed(number: int) -> bytes:
    """As few bytes as leave the first bit free."""
    return number.to_bytes(number.bit_length() // 8 + 1, "big")


def _der(tag: int, body: bytes) -> bytes:
    """A value with its tag and length."""
    return bytes([tag, *([0x81] if len(body) > 127 else []), len(body)]) + body


def _sum(curve: NistCurve, first: int, second: int, point: tuple[int, int]) -> Point:
    """The base point so many times, and another point so many times, bit by bit together."""
    both = (None, curve.base, point, _add(curve, curve.base, point))
    total: Point = None
    for bit in reversed(range(curve.n.bit_length())):
        total = _add(curve, total, total)
        total = _add(curve, total, both[(first >> bit & 1) | (second >> bit & 1) << 1])
    return total


def _add(curve: NistCurve, one: Point, other: Point) -> Point:
    """The sum of two points."""
    if one is None or other is None:
        return other if one is None else one
    p, (x1, y1), (x2, y2) = curve.p, one, other
    if x1 != x2:
        slope = (y2 - y1) * pow(x2 - x1, -1, p)
    elif (y1 + y2) % p:
        slope = 3 * (x1 * x1 - 1) * pow(2 * y1, -1, p)
    else:
        return None
    x3 = (slope * slope - x1 - x2) % p
    return x3, (slope * (x1 - x3) - y1) % p
