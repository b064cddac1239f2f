"""Our verifier of public signatures says what `cryptography` says: of good ones, of bad ones, and of nonsense."""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from hypothesis import example, given, settings
from hypothesis import strategies as st

from figures_for_tests import FULL
from penstock.errors import BadConfig
from penstock.packages.publickey import (
    CURVES,
    P256,
    P384,
    P521,
    NistCurve,
    VerifyingKey,
    _sum,
    load_public_key,
    read_public,
)

THEIRS: dict[str, tuple[ec.EllipticCurve, hashes.HashAlgorithm]] = {
    "secp256r1": (ec.SECP256R1(), hashes.SHA256()),
    "secp384r1": (ec.SECP384R1(), hashes.SHA384()),
    "secp521r1": (ec.SECP521R1(), hashes.SHA512()),
}
DATA = b"DSSEv1 28 application/vnd.in-toto+json 2 {}"
PEM, SPKI = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
curves = pytest.mark.parametrize("curve", CURVES, ids=lambda one: one.name)
few = settings(max_examples=60 if FULL else 25, deadline=None)


@cache
def signer(curve: NistCurve, secret: int = 0x5EC2E7) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(secret, THEIRS[curve.name][0])


def ours(key: ec.EllipticCurvePrivateKey) -> VerifyingKey:
    return read_public(key.public_key().public_bytes(PEM, SPKI))


def sign(curve: NistCurve, data: bytes = DATA) -> bytes:
    return signer(curve).sign(data, ec.ECDSA(THEIRS[curve.name][1]))


@cache
def signed(curve: NistCurve) -> bytes:
    return sign(curve)


def they_accept(key: ec.EllipticCurvePrivateKey, curve: NistCurve, data: bytes, signature: bytes) -> bool:
    try:
        key.public_key().verify(signature, data, ec.ECDSA(THEIRS[curve.name][1]))
    except InvalidSignature:
        return False
    return True


def both(curve: NistCurve, signature: bytes, data: bytes = DATA) -> bool:
    """What both say, which has to be the same."""
    key = signer(curve)
    found = ours(key).verify(data, signature)
    assert found == they_accept(key, curve, data, signature), signature.hex()
    return found


def integer(body: bytes) -> bytes:
    return bytes([2, len(body)]) + body


def sequence(body: bytes) -> bytes:
    return bytes([0x30, *([0x81] if len(body) > 127 else []), len(body)]) + body


def least(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1, "big")


def spki(curve: NistCurve, x: int, y: int) -> bytes:
    width = curve.width
    der = curve.lead + x.to_bytes(width, "big") + y.to_bytes(width, "big")
    return b"-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(der) + b"-----END PUBLIC KEY-----\n"


# -- curves and keys


@curves
def test_the_base_point_lies_on_its_curve_and_has_the_order_that_is_said(curve: NistCurve) -> None:
    x, y = curve.base
    assert (y * y - x**3 + 3 * x - curve.b) % curve.p == 0
    assert _sum(curve, curve.n, 0, curve.base) is None
    assert _sum(curve, curve.n - 1, 0, curve.base) == (x, curve.p - y)
    assert curve.n.bit_length() >= hashes.Hash(THEIRS[curve.name][1]).algorithm.digest_size * 8


@curves
@given(secret=st.integers(1, 2**256 - 2**225))
@few
def test_multiples_and_keys_are_theirs(curve: NistCurve, secret: int) -> None:
    key = signer(curve, secret)
    numbers = key.public_key().public_numbers()
    assert _sum(curve, secret, 0, curve.base) == (numbers.x, numbers.y)
    pem = key.public_key().public_bytes(PEM, SPKI)
    assert read_public(pem).point == (numbers.x, numbers.y)
    assert read_public(pem).pem == pem


@curves
def test_no_key_off_its_curve_or_out_of_range_is_read(curve: NistCurve) -> None:
    x, y = ours(signer(curve)).point
    # The last two are the same numbers with the field's size added: another spelling of what they are below it.
    small = next(
        one for one in range(1, 200) if pow((one**3 - 3 * one + curve.b) % curve.p, (curve.p - 1) // 2, curve.p) == 1
    )
    root = pow((small**3 - 3 * small + curve.b) % curve.p, (curve.p + 1) // 4, curve.p)
    assert read_public(spki(curve, small, root)).point == (small, root)
    wrong = [(x, y ^ 1), (x ^ 1, y), (0, 0), (1, 1), (y, x), (small + curve.p, root)]
    for one, other in wrong:
        try:
            pem = spki(curve, one, other)
        except OverflowError:
            continue
        with pytest.raises(ValueError, match="no point"):
            read_public(pem)
        with pytest.raises(ValueError):  # noqa: PT011 (theirs says it in many ways)
            serialization.load_pem_public_key(pem)


def other_keys() -> list[bytes]:
    key = signer(P256).public_key()
    compressed = key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    body = P256.lead[2:-2] + bytes([len(compressed) + 1, 0]) + compressed
    der = bytes([0x30, len(body)]) + body
    return [
        b"",
        key.public_bytes(serialization.Encoding.DER, SPKI),
        key.public_bytes(PEM, SPKI) * 2,
        key.public_bytes(PEM, SPKI).replace(b"PUBLIC", b"PRIVATE"),
        key.public_bytes(PEM, SPKI).replace(b"MFk", b"MFl"),
        b"-----BEGIN PUBLIC KEY-----\nA\n-----END PUBLIC KEY-----\n",
        b"-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(der) + b"-----END PUBLIC KEY-----\n",
        ec.derive_private_key(7, ec.SECP256K1()).public_key().public_bytes(PEM, SPKI),
        ec.derive_private_key(7, ec.BrainpoolP256R1()).public_key().public_bytes(PEM, SPKI),
    ]


@pytest.mark.parametrize("pem", other_keys())
def test_no_other_key_or_form_is_read(pem: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        read_public(pem)
    (tmp_path / "package.pub").write_bytes(pem)
    with pytest.raises(BadConfig):
        load_public_key(tmp_path / "package.pub")


# -- signatures


@curves
@given(data=st.binary(max_size=200), secret=st.integers(1, 2**200))
@settings(max_examples=25 if FULL else 10, deadline=None)
def test_what_somebody_signed_is_accepted_of_nobody_else(curve: NistCurve, data: bytes, secret: int) -> None:
    signature = sign(curve, data)
    assert both(curve, signature, data)
    assert not both(curve, signature, data + b"\0")
    other = signer(curve, secret)
    assert ours(other).verify(data, signature) == (secret == 0x5EC2E7)
    assert ours(other).verify(data, signature) == they_accept(other, curve, data, signature)


@curves
@given(data=st.data())
@few
def test_no_changed_bit_passes(curve: NistCurve, data: st.DataObject) -> None:
    signature = bytearray(signed(curve))
    bit = data.draw(st.integers(0, len(signature) * 8 - 1))
    signature[bit // 8] ^= 1 << bit % 8
    assert not both(curve, bytes(signature))


@curves
@given(data=st.data())
@few
def test_no_cut_and_nothing_added_passes(curve: NistCurve, data: st.DataObject) -> None:
    whole = signed(curve)
    at = data.draw(st.integers(0, len(whole)))
    more = data.draw(st.binary(min_size=1, max_size=4))
    assert not both(curve, whole[:at] + more + whole[at:]) or whole[:at] + more + whole[at:] == whole
    assert not both(curve, whole[:at]) or at == len(whole)


@given(signature=st.binary(max_size=150))
@example(b"")
@example(b"\x30")
@example(b"\x30\x81")
@example(b"\x30\x00")
@example(b"\x30\x80\x00\x00")
@example(b"\x30\x03\x02\x01\x01")
@example(b"\x30\x06\x02\x01\x01\x02\x01\x01")
@example(b"\x30\x06\x02\x02\x01\x02\x01\x01")
@example(b"\x30\x81\xff" + b"\x02\xff" + b"\xff" * 255)
@few
def test_nonsense_is_a_plain_no(signature: bytes) -> None:
    for curve in CURVES:
        assert not both(curve, signature)


@curves
def test_numbers_out_of_range_and_other_spellings_are_refused(curve: NistCurve) -> None:
    r, s = decode_dss_signature(signed(curve))
    n, p = curve.n, curve.p
    one, other = integer(least(r)), integer(least(s))
    assert sequence(one + other) == signed(curve)
    # The other half of the numbers is as good: neither side asks for the low one.
    assert both(curve, encode_dss_signature(r, n - s))
    edges = [0, 1, 2, n - 1, n, n + 1, p, p - n, 2 * n, 2 ** curve.n.bit_length() - 1]
    for left in [r, r + n, *edges]:
        for right in [s, s + n, *edges]:
            assert both(curve, encode_dss_signature(left, right)) == ((left, right) == (r, s))
    long = len(one + other) > 127
    body = one + other
    spellings = [
        sequence(integer(b"\0" + least(r)) + other),
        sequence(one + integer(b"\0" + least(s))),
        sequence(integer(least(r).lstrip(b"\0")) + integer(b"\0\0" + least(s))),
        sequence(integer((-r).to_bytes(len(least(r)) + 1, "big", signed=True)) + other),
        sequence(one + other + b"\0"),
        sequence(one + other) + b"\0",
        sequence(one + other + integer(b"\1")),
        sequence(other + one),
        sequence(one),
        sequence(integer(b"") + other),
        bytes([0x30, 0x80]) + body + b"\0\0",
        bytes([0x31, *([0x81] if long else []), len(body)]) + body,
        bytes([0x30, 0x82, 0, len(body)]) + body,
        *([] if long else [bytes([0x30, 0x81, len(body)]) + body]),
        sequence(bytes([2, 0x81, len(least(r))]) + least(r) + other),
        sequence(b"\3" + one[1:] + other),
        r.to_bytes(curve.width, "big") + s.to_bytes(curve.width, "big"),
    ]
    for spelling in spellings:
        assert not both(curve, spelling)


@curves
def test_numbers_whose_sum_is_no_usual_point_are_as_theirs(curve: NistCurve) -> None:
    """Both halves the same point, opposite points, and a sum at infinity: where additions go wrong."""
    name, n = curve.name, curve.n
    digest = hashes.Hash(THEIRS[name][1])
    digest.update(DATA)
    e = int.from_bytes(digest.finalize(), "big") % n
    base_x = curve.base[0] % n
    for secret in (1, 2, n - 1, n - 2):
        key = signer(curve, secret)
        for r in {base_x, e * pow(-secret, -1, n) % n, e * pow(secret, -1, n) % n, (e + 1) % n}:
            for s in {1, 2, e, (e + r * secret) % n, n - 1}:
                if not (r and s):
                    continue
                signature = encode_dss_signature(r, s)
                assert ours(key).verify(DATA, signature) == they_accept(key, curve, DATA, signature)
    # With the secret 1 and the nonce 1 the sum is the base point itself: a right signature from small numbers.
    right = encode_dss_signature(base_x, (e + base_x) % n)
    assert ours(signer(curve, 1)).verify(DATA, right)
    assert they_accept(signer(curve, 1), curve, DATA, right)


def test_a_signature_is_worth_nothing_on_another_curve() -> None:
    for curve in (P256, P384, P521):
        for other in CURVES:
            assert both(other, signed(curve)) == (curve is other)
