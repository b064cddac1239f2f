"""Our signatures and OpenSSF's: each accepts what the other made, and neither accepts a changed byte."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from penstock.build.sign import sign_folder
from penstock.errors import Untrusted
from penstock.packages.keys import PrivateKey
from penstock.packages.read import open_package
from penstock.packages.signature import verify

try:
    # model-signing imports pyopenssl and does not require it.
    from model_signing import hashing, signing, verifying
except ImportError as error:
    # Where everything is to be shown, what cannot be shown is a failure.
    if os.environ.get("CI"):
        raise
    pytest.skip(f"pip install model-signing pyopenssl ({error})", allow_module_level=True)


def their_hashing(folder: Path) -> object:
    return hashing.Config().set_ignored_paths(paths=[folder / "signature.json"])


def they_verify(folder: Path, public: Path) -> None:
    config = verifying.Config().use_elliptic_key_verifier(public_key=public)
    config.set_hashing_config(their_hashing(folder)).verify(folder, folder / "signature.json")


def they_sign(folder: Path, private: Path) -> None:
    (folder / "signature.json").unlink(missing_ok=True)
    config = signing.Config().use_elliptic_key_signer(private_key=private)
    config.set_hashing_config(their_hashing(folder)).sign(folder, folder / "signature.json")


def test_they_accept_ours(folder: Path, tmp_path: Path) -> None:
    they_verify(folder, tmp_path / "keys" / "package.pub")


def test_we_accept_theirs(folder: Path, tmp_path: Path, key: PrivateKey) -> None:
    they_sign(folder, tmp_path / "keys" / "package.key")
    verify(folder, [key.public_key()])
    assert open_package(folder, keys=[key.public_key()]).manifest.name == "doubler"


@pytest.mark.parametrize("who", ["we", "they"])
@pytest.mark.parametrize("name", ["manifest.json", "model/model.onnx", "golden.json"])
def test_nobody_accepts_a_changed_byte(folder: Path, tmp_path: Path, key: PrivateKey, who: str, name: str) -> None:
    if who == "they":
        they_sign(folder, tmp_path / "keys" / "package.key")
    data = bytearray((folder / name).read_bytes())
    data[-1] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(Untrusted) as refusal:
        verify(folder, [key.public_key()])
    assert refusal.value.where == name
    with pytest.raises(ValueError, match="Hash mismatch"):
        they_verify(folder, tmp_path / "keys" / "package.pub")


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda one: one.name)
def test_each_curve_of_the_format_works_both_ways(folder: Path, tmp_path: Path, curve: ec.EllipticCurve) -> None:
    key = PrivateKey(ec.generate_private_key(curve))
    private, public = tmp_path / "other.key", tmp_path / "other.pub"
    private.write_bytes(key.pem())
    public.write_bytes(key.public_key().pem)
    (folder / "signature.json").unlink()
    sign_folder(folder, key)
    they_verify(folder, public)
    they_sign(folder, private)
    verify(folder, [key.public_key()])
