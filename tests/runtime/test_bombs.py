"""Graphs that make terabytes or never end: refused or ended, wherever they come, and who serves lives."""

from __future__ import annotations

import asyncio
import os
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from bombs_for_tests import BOMBS, WIDTH, bomb, bomb_package
from dataplane_for_tests import DataPlane, route, until, v2
from packages_for_tests import linear_package
from penstock.build.assemble import build
from penstock.build.request import BuildRequest
from penstock.errors import ModelFailed
from penstock.packages.read import open_package
from penstock.records import Batching, Limits
from penstock.runtime import ceiling, engine
from penstock.runtime.ceiling import Ceiling
from penstock.runtime.engine import open_engine, prove
from penstock.serve import models
from penstock.serve.models import Shelf

ROWS = {"x": np.zeros((2, WIDTH), np.float32)}
EVIL = {"x": np.ones((2, WIDTH), np.float32)}
FULL = bool(os.environ.get("PENSTOCK_FULL"))
ENDLESS = ("Loop", "SequenceInsert")
LARGE = ("Expand", "Tile", "ConstantOfShape", "Range")


def asked(rows: list[list[float]]) -> str:
    return v2(rows).replace('"X"', '"x"')


@pytest.mark.parametrize("kind", (*ENDLESS, *LARGE) if FULL else ("Loop", "Expand"))
def test_packaging_refuses_them_within_its_limits(tmp_path: Path, kind: str) -> None:
    onnx.save(bomb(kind), tmp_path / "bomb.onnx")
    request = BuildRequest(name="bomb", out=tmp_path / "out", lock=False, patience_s=10.0)
    with pytest.raises(ModelFailed) as refused:
        build(tmp_path / "bomb.onnx", request)
    if kind in LARGE:
        assert "memory" in refused.value.message
    else:
        assert refused.value.code == "runtime.timeout"
    assert list((tmp_path / "out").iterdir()) == []


@pytest.fixture
def lifted() -> Iterator[None]:
    """This process's own limit, afterwards."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    yield
    resource.setrlimit(resource.RLIMIT_DATA, before)


@pytest.mark.usefixtures("lifted")
@pytest.mark.parametrize("kind", LARGE)
def test_a_graph_gets_no_more_memory_than_there_is(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb_package(tmp_path / "bomb", kind, size=1 << 25)
    package = open_package(tmp_path / "bomb")
    prove(open_engine(package), package)  # with some hundred megabytes it is a graph as any other
    monkeypatch.setattr(ceiling, "available_bytes", lambda: 0)
    monkeypatch.setattr(ceiling, "LEAST_BYTES", 64 << 20)
    held = Ceiling()
    with held.while_loading(0), pytest.raises(ModelFailed, match=r"(?i)memory"):
        prove(open_engine(package), package)
    with held.while_loading(1 << 32):  # what is mapped is no memory
        prove(open_engine(package), package)


@pytest.mark.parametrize("kind", ENDLESS)
def test_one_that_never_ends_is_not_proven(tmp_path: Path, kind: str) -> None:
    bomb_package(tmp_path / "bomb", kind)
    package = open_package(tmp_path / "bomb")
    begun = time.monotonic()
    with pytest.raises(ModelFailed, match=r"golden examples within 0\.5 s") as refused:
        prove(open_engine(package), package, within_s=0.5)
    assert refused.value.code == "runtime.timeout"
    assert time.monotonic() - begun < 20


def test_a_run_that_was_ended_says_nothing_of_the_next(tmp_path: Path) -> None:
    bomb_package(tmp_path / "bomb", "Loop by an input")
    opened = open_engine(open_package(tmp_path / "bomb"))
    assert isinstance(opened, engine.Interruptible)
    opened.abandon()
    assert opened.run(ROWS)["y"].tolist() == [[0.0]] * 2
    timer = threading.Timer(0.3, opened.abandon)
    timer.start()
    with pytest.raises(ModelFailed) as ended:
        opened.run(EVIL)
    assert ended.value.code == engine.ABANDONED
    assert opened.run(ROWS)["y"].tolist() == [[0.0]] * 2


def test_a_shelf_says_why_it_has_none_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "PROVE_S", 0.5)
    shelf = Shelf(None, None)
    digests = {kind: bomb_package(tmp_path / kind, kind) for kind in BOMBS}
    assert not asyncio.run(shelf.ensure({one: str(tmp_path / kind) for kind, one in digests.items()}))
    assert shelf.models.keys() == {digests["Expand by an input"], digests["Loop by an input"]}
    assert {shelf.codes[digests[kind]] for kind in ENDLESS} == {"runtime.timeout"}
    assert all("memory" in shelf.failed[digests[kind]] for kind in LARGE)
    shelf.close()


def test_a_data_plane_outlives_what_strikes_when_it_is_asked(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    good = plane.add(linear_package, tmp_path / "good", name="good")
    large = plane.add(bomb_package, tmp_path / "large", kind="Expand by an input", name="large")
    long = plane.add(bomb_package, tmp_path / "long", kind="Loop by an input", name="long")
    beside = Limits(deadline_s=1.0, batching=Batching(mode="thread"))
    plane.write(route("good", good), route("large", large), route("long", long, limits=beside))
    plane.start("--spares", "0", "--watchdog-s", "4", workers=1)
    zeros, ones = asked([[0.0] * WIDTH]), asked([[1.0] * WIDTH])
    try:
        plane.settled(workers=1)
        (pid,) = {one.pid for one in plane.statuses()}
        for name in ("large", "long"):
            assert plane.ask("POST", f"/v2/models/{name}/infer", zeros).status == 200
        assert plane.ask("POST", "/v2/models/large/infer", ones).status == 500
        assert plane.ask("POST", "/v2/models/large/infer", zeros).status == 200
        assert plane.ask("POST", "/v2/models/long/infer", ones).status == 504
        # Its thread is free again, and its neighbours never noticed.
        until(lambda: plane.ask("POST", "/v2/models/long/infer", zeros).status == 200, seconds=10)
        assert plane.ask("POST", "/v2/models/good/infer", v2([[0.0] * WIDTH])).status == 200
        assert {one.pid for one in plane.statuses()} == {pid}
        # On the event loop itself nobody can end it but the supervisor.
        plane.write(route("good", good), route("long", long))
        plane.settled(workers=1)
        with pytest.raises(ConnectionError):
            plane.ask("POST", "/v2/models/long/infer", ones)
        until(lambda: plane.ask("POST", "/v2/models/good/infer", v2([[0.0] * WIDTH])).status == 200)
        assert pid not in {one.pid for one in plane.statuses()}
    finally:
        plane.stop()
