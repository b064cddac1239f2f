"""Switching versions: what is not proven is never switched to, and canaries and shadows get their share."""

from __future__ import annotations

import time
from pathlib import Path

from dataplane_for_tests import DataPlane, route, until, v2
from packages_for_tests import linear_package, slow_package
from penstock.records import Route, Variant

BODY = v2([[1.0, 2.0, 3.0, 4.0]])
PATH = "/v2/models/linear/infer"


def test_a_package_that_answers_wrong_never_becomes_ready(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    good = plane.add(linear_package, tmp_path / "good")
    wrong = plane.add(linear_package, tmp_path / "wrong", wrong=True)
    plane.write(route("linear", wrong))
    plane.start(workers=1)
    try:
        end = time.monotonic() + 90
        while not (plane.statuses() and plane.statuses()[0].failed):
            assert plane.ask("GET", "/v2/health/ready").status == 503
            assert plane.ask("POST", PATH, BODY).status == 503
            assert time.monotonic() < end, "it is not said why"
            time.sleep(0.1)
        (status,) = plane.statuses()
        assert "golden" in status.failed[wrong]
        # The control plane puts the good one there, then tries the wrong one again beside it.
        plane.write(route("linear", good))
        plane.settled(workers=1)
        assert plane.ask("GET", "/v2/health/ready").status == 200
        plane.write(route("linear", wrong, version=2))
        end = time.monotonic() + 90
        while not plane.statuses()[0].failed and time.monotonic() < end:
            assert plane.ask("POST", PATH, BODY).headers["x-model-version"] == "1"
        (status,) = plane.statuses()
        assert status.snapshot == 2
        assert wrong not in status.ready
    finally:
        plane.stop()


def test_a_worker_that_starts_beside_a_broken_snapshot_answers_as_its_siblings(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    good = plane.add(linear_package, tmp_path / "good")
    wrong = plane.add(linear_package, tmp_path / "wrong", wrong=True)
    plane.write(route("linear", good))
    plane.start(workers=1)
    try:
        plane.settled(workers=1)
        plane.write(route("linear", wrong, version=2))
    finally:
        plane.stop()
    plane.start(workers=1)
    try:
        while not plane.statuses() or not plane.statuses()[0].failed:
            time.sleep(0.05)
        assert plane.ask("POST", PATH, BODY).headers["x-model-version"] == "1"
    finally:
        plane.stop()


def test_canary_and_shadow(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    one = plane.add(linear_package, tmp_path / "one")
    two = plane.add(linear_package, tmp_path / "two", bias=1.0)
    three = plane.add(linear_package, tmp_path / "three", bias=2.0)
    variants = (
        Variant(name="canary", model="linear", version=2, digest=two, share=0.3),
        Variant(name="stable", model="linear", version=1, digest=one, share=0.7),
        Variant(name="shadow", model="linear", version=3, digest=three, shadow=True),
    )
    plane.write(Route(endpoint="linear", release=7, variants=variants, salt="s"))
    plane.start(workers=1)
    try:
        plane.settled(workers=1)
        got: dict[str, str] = {}
        for turn in range(2):
            for key in range(200):
                answer = plane.ask("POST", PATH, BODY, {"x-routing-key": f"plane-{key}", "x-event-time": "2013-05-01"})
                assert got.setdefault(f"plane-{key}", answer.headers["x-variant"]) == answer.headers["x-variant"], turn
        canaries = sum(variant == "canary" for variant in got.values())
        assert 35 <= canaries <= 85, "about 30 % of the keys"
        pinned = plane.ask("POST", "/v2/models/linear/versions/2/infer", BODY, {"x-routing-key": "plane-0"})
        assert pinned.headers["x-variant"] == "canary"
    finally:
        plane.stop()
    exchanges = plane.exchanges()
    answered = [one for one in exchanges if not one.shadow]
    shadows = {one.id: one for one in exchanges if one.shadow}
    assert len(answered) == len(shadows) == 401
    assert all(one.variant == got[one.key] and one.release == 7 for one in answered[:400])
    assert {one.share for one in answered[:400]} == {0.3, 0.7}
    assert all(one.event_time == 1367366400.0 for one in answered[:400])
    for one in answered:
        assert shadows[one.id].version == 3
        assert shadows[one.id].outputs != one.outputs
        assert shadows[one.id].inputs == one.inputs == {"X": [[1.0, 2.0, 3.0, 4.0]]}


def test_a_slow_load_delays_no_switch_of_another_endpoint(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    old = plane.add(linear_package, tmp_path / "old")
    new = plane.add(linear_package, tmp_path / "new", bias=1.0)
    slow = plane.add(slow_package, tmp_path / "slow", rounds=4_000)
    plane.write(route("linear", new, version=2, warm=(old,)))
    plane.start("--spares", "0", workers=1)
    try:
        plane.settled(workers=1)
        plane.warm(old, workers=1)
        plane.write(route("linear", new, version=2, warm=(old, slow)))
        plane.settled(workers=1)
        plane.write(route("linear", old, warm=(new, slow)))
        plane.settled(workers=1)
        (worker,) = plane.statuses()
        assert slow not in worker.ready, "it is still on its way, and the switch is done"
        assert plane.ask("POST", "/v2/models/linear/infer", v2([[1.0, 2.0, 3.0, 4.0]])).json["model_version"] == "1"
        plane.warm(slow, workers=1)
        plane.write(route("linear", old, warm=(new,)))
        until(lambda: [set(one.ready) for one in plane.statuses()] == [{old, new}])
    finally:
        plane.stop()
