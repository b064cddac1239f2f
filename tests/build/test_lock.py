"""The lock: versions of here, hashes where they are known, never an address."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import version
from pathlib import Path

import msgspec
import pytest

from penstock.build.dependencies.lock import closure, distributions_of, lock
from penstock.runtime.environments import differing, parse


def test_it_pins_what_is_imported_and_what_that_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    locked = lock(["sklearn", "pandas"], ask_index=False)
    pins = parse(locked.text)
    assert pins["scikit-learn"] == version("scikit-learn")
    assert {"numpy", "scipy", "joblib", "threadpoolctl", "pandas", "python-dateutil", "msgspec"} <= pins.keys()
    assert differing(pins) == []
    assert set(locked.missing) == pins.keys()


def test_known_hashes_are_written_without_asking_anybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    place = tmp_path / "penstock" / f"hashes-{platform.machine()}-{sys.implementation.cache_tag}.json"
    place.parent.mkdir()
    pin = f"numpy=={version('numpy')}"
    place.write_bytes(msgspec.json.encode({pin: "a" * 64, "scipy==0": "not a hash"}))
    locked = lock(["numpy"], ask_index=False)
    assert f"{pin} --hash=sha256:{'a' * 64}\n" in locked.text
    assert "numpy" not in locked.missing


def test_an_index_that_does_not_answer_costs_the_hashes_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    for name in ("PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    locked = lock(["msgspec"])
    assert locked.missing == tuple(sorted(parse(locked.text)))
    assert "://" not in locked.text


def test_unknown_modules_are_left_out() -> None:
    assert distributions_of(["no_such_module"]) == set()
    assert closure(["no-such-distribution"]) == {}
