"""What memory is left, by the tightest of machine and control groups, and who is refused for it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from penstock.errors import NotReady
from penstock.runtime.memory import MEBIBYTE, RESERVE_BYTES, available_bytes, require, resident_bytes


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


MACHINE = {"proc/meminfo": "MemTotal: 9999 kB\nMemAvailable:    2048 kB\n"}
GROUP = "sys/fs/cgroup/outer/inner"


def test_a_machine_without_groups_has_what_it_says(tmp_path: Path) -> None:
    assert available_bytes(written(tmp_path, MACHINE)) == 2048 * 1024
    assert available_bytes(tmp_path / "nowhere") is None


@pytest.mark.parametrize(("limit", "left"), [("max", 2 << 20), ("1500000", 500_000 + 1000)])
def test_a_group_of_version_two(tmp_path: Path, limit: str, left: int) -> None:
    files = {
        "proc/self/cgroup": "0::/outer/inner\n",
        f"{GROUP}/memory.max": limit,
        f"{GROUP}/memory.current": "1000000",
        f"{GROUP}/memory.stat": "anon 5\ninactive_file 1000\n",
    }
    assert available_bytes(written(tmp_path, MACHINE | files)) == left


def test_the_group_above_may_be_the_tighter_one(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/outer/inner\n",
        f"{GROUP}/memory.max": "2000000",
        f"{GROUP}/memory.current": "100",
        "sys/fs/cgroup/outer/memory.max": "1000",
        "sys/fs/cgroup/outer/memory.current": "400",
    }
    assert available_bytes(written(tmp_path, MACHINE | files)) == 600


@pytest.mark.parametrize(("limit", "left"), [("9223372036854771712", 2 << 20), ("1000000", 300_000)])
def test_a_group_of_version_one_whose_path_is_another_namespaces(tmp_path: Path, limit: str, left: int) -> None:
    files = {
        "proc/self/cgroup": "4:memory:/docker/abc\n1:cpu:/\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": limit,
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "700000",
    }
    assert available_bytes(written(tmp_path, MACHINE | files)) == left


def test_a_full_group_has_nothing_left(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "10", "sys/fs/cgroup/memory.current": "20"}
    assert available_bytes(written(tmp_path, MACHINE | files)) == 0


def test_what_fits_is_admitted_and_what_does_not_is_told_both_figures() -> None:
    require(100 * MEBIBYTE, "model", known=True, available=100 * MEBIBYTE + RESERVE_BYTES)
    with pytest.raises(NotReady, match=r"model needs 101 MiB of memory and 100 MiB are left") as caught:
        require(101 * MEBIBYTE, "model", known=True, available=100 * MEBIBYTE + RESERVE_BYTES)
    assert caught.value.code == "runtime.memory"
    with pytest.raises(NotReady, match="at least"):
        require(1 << 60, "model", known=False)


def test_a_process_is_as_large_as_what_it_holds() -> None:
    before = resident_bytes(os.getpid())
    held = np.ones(64 * MEBIBYTE, np.uint8)
    assert resident_bytes(os.getpid()) - before > 48 * MEBIBYTE
    assert held.sum() == 64 * MEBIBYTE
    assert resident_bytes(1 << 30) == 0
