"""Stores of every format so far open, with nothing lost, and take new events."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from penstock.registry.fold import fold
from penstock.registry.state import State
from penstock.registry.stores.sqlite import FORMAT, SqliteStore
from penstock.registry.verify import verify

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(params=range(1, FORMAT + 1))
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A home folder with the golden registry of a format in it; a private key is nobody's to keep in a repository."""
    (tmp_path / "keys").mkdir()
    shutil.copyfile(GOLDEN / f"registry-{request.param}.db", tmp_path / "registry.db")
    shutil.copyfile(GOLDEN / f"registry-{request.param}.pub", tmp_path / "keys" / "signing.pub")
    shutil.copyfile(GOLDEN / f"registry-{request.param}.head.json", tmp_path / "head.json")
    return tmp_path


def test_an_old_chain_still_verifies(home: Path) -> None:
    found = verify(home, packages=False)
    assert found.ok, found.problems
    assert found.events == 27


def test_an_old_store_tells_the_same_story(home: Path) -> None:
    store = SqliteStore.open(home / "registry.db")
    state = fold(State(), store.read(0, 1000))
    store.close()
    assert state.models["m"].aliases == {"champion": 1}
    assert [known.version.author for known in state.models["m"].versions] == ["ann", "ann"]
    assert [given.comment for given in state.version("m", 1).approvals] == ["seen, 漢字"]
    assert state.version("m", 2).bypasses["e"].expires_at == 1e12
    assert [release.by for release in state.endpoint("e").releases] == ["ann", "ann", "bob"]
    assert set(state.identities) == {"admin", "penstock", "ann", "bob", "eve"}
    assert len(state.tokens) == 2
