"""G16: a model that breaks is its own trouble: others do not fail and hardly wait, and it is back in two seconds.

`tests/serve/test_poison.py` says of all twelve ways what their callers are told; here it is how the others fare.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dataplane_for_tests import Answered, DataPlane, route, until
from figures_for_tests import FULL, Figures, percentile
from packages_for_tests import linear_package
from penstock.records import Batching, Limits
from tests.reliability.clients_for_tests import Load, loaded
from tests.reliability.models_for_tests import number
from tests.serve.test_poison import BAD, LOADS, RUNS, WELL, poison

pytestmark = pytest.mark.serial

BROKEN = tuple(RUNS) if FULL else ("segfault", "hang")
LOADING = tuple(LOADS) if FULL else ("loading crash",)
AT_ONCE = ("segfault", "exit")
TIMES = 2 if FULL else 1
"""At the third death in a minute a model rests: that is `tests/serve/test_poison.py`."""
CALM_S = 10.0 if FULL else 1.5
CLIENTS = {"keep": 2, "new": 1}


def asked(plane: DataPlane, name: str, value: float) -> Answered:
    return plane.ask("POST", f"/v2/models/{name}/infer", number(value))


def p99(load: Load, since: float = 0.0) -> float:
    return percentile([one.ended - one.begun for one in load.answers if one.begun >= since], 0.99)


def test_others_do_not_notice(plane_of: DataPlane, tmp_path: Path, figures: Figures) -> None:
    plane = plane_of
    linear = plane.add(linear_package, tmp_path / "linear")
    digests = {name: plane.add(poison, tmp_path / name, runs=RUNS[name], name=name) for name in BROKEN}
    limits = Limits(batching=Batching(hang_s=0.5))
    routes = [route("linear", linear), *[route(name, digest, limits=limits) for name, digest in digests.items()]]
    plane.write(*routes)
    plane.start("--spares", "0", workers=1)
    plane.settled(workers=1)
    (worker,) = (one.pid for one in plane.statuses())
    back: dict[str, float] = {}
    with loaded(plane, CLIENTS, pause_s=0.01) as load:
        time.sleep(CALM_S)
        usual = p99(load)
        poisoned = time.monotonic()
        for name in BROKEN * TIMES:
            sent = time.monotonic()
            asked(plane, name, BAD)
            # These die the moment they are asked; the others first do what they do.
            gone = sent if name in AT_ONCE else time.monotonic()
            until(lambda name=name: asked(plane, name, WELL).status == 200)
            back[name] = max(back.get(name, 0.0), time.monotonic() - gone)
        for name in LOADING:
            digest = plane.add(poison, tmp_path / name, loads=LOADS[name], name="loading")
            # As the local target does: loaded beside what runs, and named by a route only when it is proven.
            plane.write(route("linear", linear, warm=(digest,)), *routes[1:])
            time.sleep(2.0)
            plane.write(*routes)
        plane.settled(workers=1)
        load.wait(200, seconds=60)
    figures.count("poison models", len(BROKEN) + len(LOADING), at_least=len(BROKEN) + len(LOADING))
    figures.count("others' requests", len(load.answers), at_least=200)
    figures.count("others' failed requests", len(load.failures) + len(load.lost), at_most=0)
    figures.count("workers that died of a model", int([one.pid for one in plane.statuses()] != [worker]), at_most=0)
    figures.timed("others' p99 beside poison, of the usual", p99(load, poisoned) / usual, at_most=1.2)
    for name, seconds in back.items():
        figures.timed(f"replaced after {name}, s", seconds, at_most=2.0)
    print([*load.failures, *load.lost][:3])
    figures.hold()
