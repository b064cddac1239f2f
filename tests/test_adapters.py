"""The table is true: every line leads to a class, and nothing else is found."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

import penstock
from penstock.adapters import TABLE, load
from penstock.errors import BadConfig, NotFound

LINES = [(kind, name) for kind, names in TABLE.items() for name in names]
PARTS = {"listener"}
"""Kinds whose implementations share parts, which are files beside them."""
FOLDERS = {
    Path(load(kind, next(iter(TABLE[kind]))).__module__.replace(".", "/")).parent for kind in TABLE.keys() - PARTS
}


@pytest.mark.parametrize(("kind", "name"), LINES)
def test_every_line_leads_to_a_class(kind: str, name: str) -> None:
    assert isinstance(load(kind, name), type)


@pytest.mark.parametrize("folder", sorted(FOLDERS), ids=str)
def test_every_file_of_a_plural_folder_has_a_line(folder: Path) -> None:
    placed = {adapter.place.partition(":")[0] for names in TABLE.values() for adapter in names.values()}
    root = Path(penstock.__file__).parents[1]
    for path in (root / folder).glob("*.py"):
        if path.stem != "__init__":
            assert f"{folder}/{path.stem}".replace("/", ".") in placed, f"{path.stem} has no line in adapters.py"


def test_an_unknown_name_raises_and_lists_the_known() -> None:
    with pytest.raises(NotFound, match="canary"):
        load("strategy", "prayer")
    with pytest.raises(NotFound, match="strategy"):
        load("religion", "canary")


def test_a_missing_library_says_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str) -> object:
        raise ModuleNotFoundError("no", name="lightgbm")

    monkeypatch.setattr("penstock.adapters.import_module", missing)
    with pytest.raises(BadConfig, match=r"pip install 'penstock\[lightgbm\]'"):
        load("format", "lightgbm")
    assert importlib.util.find_spec("penstock.adapters")
