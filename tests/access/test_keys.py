"""The signing key: made once, kept private, refused when it is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from penstock.access.keys import PRIVATE_FILE, PUBLIC_FILE, load_or_create, read_private, read_public
from penstock.errors import Corrupt, NotFound, Untrusted


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    load_or_create(tmp_path / "keys")
    return tmp_path / "keys"


def test_it_is_made_once_with_the_right_modes(folder: Path) -> None:
    first = load_or_create(folder).public().fingerprint
    assert load_or_create(folder).public().fingerprint == first
    assert (folder / PRIVATE_FILE).stat().st_mode & 0o777 == 0o600
    assert (folder / PUBLIC_FILE).stat().st_mode & 0o777 == 0o644
    assert folder.stat().st_mode & 0o777 == 0o700


def test_what_it_signs_its_public_half_verifies(folder: Path, tmp_path: Path) -> None:
    key, public = load_or_create(folder), read_public(folder / PUBLIC_FILE)
    signature = key.sign(b"said")
    assert public.verify(b"said", signature)
    assert not public.verify(b"Said", signature)
    assert not public.verify(b"said", signature.upper())
    assert not public.verify(b"said", signature + " ")
    assert not load_or_create(tmp_path / "other").public().verify(b"said", signature)


@given(signature=st.one_of(st.text(max_size=140), st.text("0123456789abcdef", min_size=128, max_size=128)))
def test_any_text_is_no_signature(tmp_path_factory: pytest.TempPathFactory, signature: str) -> None:
    public = load_or_create(tmp_path_factory.getbasetemp() / "one").public()
    assert not public.verify(b"said", signature)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_private_key_that_others_can_read_is_refused(folder: Path, mode: int) -> None:
    (folder / PRIVATE_FILE).chmod(mode)
    with pytest.raises(Untrusted, match="others may read"):
        load_or_create(folder)


def test_links_folders_and_pipes_are_no_keys(folder: Path, tmp_path: Path) -> None:
    private = folder / PRIVATE_FILE
    kept = tmp_path / "kept"
    private.rename(kept)
    private.symlink_to(kept)
    with pytest.raises(Untrusted):
        load_or_create(folder)
    private.unlink()
    private.mkdir()
    with pytest.raises(Untrusted):
        read_private(private)
    private.rmdir()
    os.mkfifo(private, 0o600)
    with pytest.raises(Untrusted):
        read_private(private)


def test_what_is_no_ed25519_key_is_corrupt(folder: Path) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    pem = other.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for data in (b"", b"nonsense", pem):
        (folder / PRIVATE_FILE).write_bytes(data)
        with pytest.raises(Corrupt):
            read_private(folder / PRIVATE_FILE)
    for data in (
        b"",
        pem,
        other.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
    ):
        (folder / PUBLIC_FILE).write_bytes(data)
        with pytest.raises(Corrupt):
            read_public(folder / PUBLIC_FILE)
    with pytest.raises(NotFound):
        read_public(folder / "none.pub")


def test_a_public_file_of_another_key_is_refused(folder: Path, tmp_path: Path) -> None:
    load_or_create(tmp_path / "other")
    (tmp_path / "other" / PUBLIC_FILE).rename(folder / PUBLIC_FILE)
    with pytest.raises(Untrusted):
        load_or_create(folder)


def test_many_processes_make_one_key(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from penstock.access.keys import load_or_create\n"
        "print(load_or_create(pathlib.Path(sys.argv[1])).public().fingerprint)"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path / "keys"], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert len({process.communicate()[0] for process in started}) == 1
