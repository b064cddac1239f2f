"""The key that signs packages: made once, whole or not at all, whoever asks first and whatever is killed."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from penstock.access.files import TEMPORARY
from penstock.errors import BadConfig
from penstock.packages.keys import PRIVATE, load_or_create_package_key
from penstock.packages.publickey import PUBLIC, load_public_key

KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from penstock.packages.keys import load_or_create_package_key
places = [0]
def watch(event, arguments):
    if event == "os.rename":
        places[0] += 1
        if places[0] == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
load_or_create_package_key(Path(sys.argv[1]))
"""


def test_it_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: load_or_create_package_key(tmp_path / "keys"), range(16)))
    assert len({key.public_key() for key in keys}) == 1
    assert stat.S_IMODE((tmp_path / "keys" / PRIVATE).stat().st_mode) == 0o600
    assert load_public_key(tmp_path / "keys" / PUBLIC) == keys[0].public_key()


@pytest.mark.parametrize("write", [1, 2], ids=["private", "public"])
def test_a_killed_writer_leaves_no_half_key_and_nothing_else(tmp_path: Path, write: int) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, tmp_path, str(write)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert any(name.startswith(TEMPORARY) for name in os.listdir(tmp_path))
    key = load_or_create_package_key(tmp_path)
    assert load_public_key(tmp_path / PUBLIC) == key.public_key()
    assert sorted(os.listdir(tmp_path)) == ["lock", PRIVATE, PUBLIC]


@pytest.mark.parametrize("content", [b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_key_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / PRIVATE).write_bytes(content)
    with pytest.raises(BadConfig):
        load_or_create_package_key(tmp_path)
    assert (tmp_path / PRIVATE).read_bytes() == content
