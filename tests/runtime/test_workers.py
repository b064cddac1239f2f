"""Processes that are lost while they load."""

from __future__ import annotations

import time
from pathlib import Path
from typing import cast

import pytest

from penstock.errors import ModelFailed
from penstock.runtime import template
from penstock.runtime.limits import Quota
from penstock.runtime.loading import Recipe
from penstock.runtime.sandboxedmodel import SandboxedModel
from penstock.runtime.template import CannotFork, Template
from penstock.runtime.workers import Workers

RECIPE = Recipe("m", None, Path(), None, Quota(), 10.0)


class Loaded:
    """A process that never runs anything."""

    pid = 1
    busy_since = 0.0
    killed = True

    def alive(self) -> bool:
        return True

    def resident_bytes(self) -> int:
        return 0

    def end(self) -> ModelFailed:
        return ModelFailed("it ended")


def starting(monkeypatch: pytest.MonkeyPatch, *codes: str) -> Workers:
    """One that was loaded once; of its next loads the first ones fail so."""
    ends = ["", *codes]
    own = RECIPE._replace(name=str(codes))

    def start(recipe: Recipe) -> SandboxedModel:
        # The template of a test before may still be starting.
        code = ends.pop(0) if recipe is own and ends else ""
        if code:
            raise ModelFailed("it died while it was loaded", code=code)
        return cast("SandboxedModel", Loaded())

    def fork(loaded: SandboxedModel, deadline: float) -> SandboxedModel:
        raise CannotFork("it is none")

    monkeypatch.setattr(template, "start", start)
    monkeypatch.setattr(template, "fork", fork)
    one = Workers(Template(own))
    one.current(time.monotonic() + 5)
    one.discard()
    return one


def test_who_is_killed_while_it_loads_is_loaded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    one = starting(monkeypatch, *["runtime.killed"] * 4)
    assert one.current(time.monotonic() + 5).pid == 1


@pytest.mark.parametrize("code", ["runtime.killed", "runtime.load_failed"])
def test_but_not_for_ever(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    one = starting(monkeypatch, *[code] * 100)
    with pytest.raises(ModelFailed) as caught:
        one.current(time.monotonic() + 5)
    assert caught.value.code == code
