"""The public surface: what is exported exists, and no public name means two things."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import penstock

SOURCE = Path(penstock.__file__).parent
# One word on purpose: every command module has its own of these.
SHARED = {"main"}


def test_every_exported_name_resolves() -> None:
    for name in penstock.__all__:
        assert getattr(penstock, name) is not None


def test_no_public_class_or_function_has_two_homes() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for path in SOURCE.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(str(path.relative_to(SOURCE)))
    twice = {name: places for name, places in homes.items() if len(places) > 1 and name not in SHARED}
    assert not twice, f"one name, one meaning: {twice}"
