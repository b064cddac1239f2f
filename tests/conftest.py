"""Lets tests import the builders beside this file, and gives them a data plane that serves small packages."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

# Threads that have nothing to do sleep. They spin by default, and where several tests share the CPUs a fit of a few
# hundred rows then takes ten times as long; libraries read this when they are loaded, and processes inherit it.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ["OPENBLAS_THREAD_TIMEOUT"] = "4"

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

from dataplane_for_tests import DataPlane, route
from packages_for_tests import flights_like, linear_package

# Examples are judged by what they show, not by how long a shared machine takes over them.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    """One worker that serves ``linear`` and ``flights``; tests that change its snapshot start their own."""
    home = tmp_path_factory.mktemp("plane")
    started = DataPlane(home)
    linear = started.add(linear_package, home / "linear")
    flights = started.add(flights_like, home / "flights")
    started.write(route("linear", linear), route("flights", flights))
    started.start("--spares", "0", "--grpc-port", "0", workers=1)
    try:
        started.settled(workers=1)
        yield started
    finally:
        started.stop()
