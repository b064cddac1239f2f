"""Ready means: whoever answers you has proven what it answers with, also while other workers still load."""

from __future__ import annotations

import time
from pathlib import Path

from dataplane_for_tests import DataPlane, route, until, v2
from packages_for_tests import linear_package, slow_package

BODY = v2([[1.0, 2.0, 3.0, 4.0]])


def test_once_one_worker_is_proven_nobody_meets_one_that_loads(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    digests = (plane.add(linear_package, tmp_path / "linear"), plane.add(slow_package, tmp_path / "slow", rounds=1000))
    plane.write(route("linear", digests[0]), route("slow", digests[1]))
    for _ in range(2):
        plane.start("--spares", "0", workers=4)
        try:
            serving = len(plane.statuses())
            while plane.ask("GET", "/v2/health/ready").status != 200:
                assert serving <= 1, "who is not proven answers alone"
                serving = len(plane.statuses())
            end = time.monotonic() + 0.7
            while time.monotonic() < end:
                assert plane.ask("GET", "/v2/health/ready").status == 200
                assert plane.ask("POST", "/v2/models/linear/infer", BODY).status == 200
            until(lambda: len(plane.statuses()) == 4)
        finally:
            plane.stop()
