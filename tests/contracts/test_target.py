"""Every target takes a wish, says what runs, and lets itself be asked again and again."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dataplane_for_tests import v2
from packages_for_tests import linear_package
from penstock.adapters import TABLE, load
from penstock.errors import Conflict
from penstock.records import Route, Variant
from penstock.release.target import Target, Wish

MAKE: dict[str, Callable[[Path], Target]] = {"local": lambda folder: load("target", "local")(folder, workers=1)}
"""How a target of each kind is made for a test; a new line in the table needs one here."""


@pytest.fixture(params=sorted(TABLE["target"]), scope="module")
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    made = MAKE[request.param](tmp_path_factory.mktemp(request.param) / "home")
    yield made
    made.remove()


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("packages")
    good = {linear_package(folder / str(bias), bias=bias): str(folder / str(bias)) for bias in (0.0, 2.0)}
    return good | {linear_package(folder / "wrong", wrong=True): str(folder / "wrong")}


def wish(packages: dict[str, str], answering: int, warm: tuple[int, ...] = ()) -> Wish:
    digests = list(packages)
    variant = Variant(name="stable", model="linear", version=answering + 1, digest=digests[answering])
    route = Route(
        endpoint="e", release=answering + 1, variants=(variant,), warm=tuple(digests[number] for number in warm)
    )
    named = {digests[number] for number in (answering, *warm)}
    return Wish(routes=(route,), packages={digest: packages[digest] for digest in named})


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def answer(target: Target) -> tuple[int, str]:
    connection = http.client.HTTPConnection(urlsplit(target.observe().url).netloc, timeout=20)
    connection.request("POST", "/v2/models/e/infer", v2([[1.0, 0.0, 0.0, 0.0]]))
    found = connection.getresponse()
    found.read()
    connection.close()
    return found.status, found.getheader("x-model-version") or ""


def test_a_wish_is_reached_and_seen(target: Target, packages: dict[str, str]) -> None:
    number = target.apply(wish(packages, 0, (1,)))
    until(lambda: target.observe().settled and len(target.observe().ready) == 2)
    status = target.observe()
    assert status.running
    assert status.number == number
    assert status.wish == wish(packages, 0, (1,))
    assert answer(target) == (200, "1")


def test_the_same_wish_again_changes_nothing(target: Target, packages: dict[str, str]) -> None:
    number = target.apply(wish(packages, 0, (1,)))
    assert target.apply(wish(packages, 0, (1,)), expect=number) == number
    assert target.observe().wish == wish(packages, 0, (1,))


def test_a_stale_decision_is_refused(target: Target, packages: dict[str, str]) -> None:
    number = target.apply(wish(packages, 0, (1,)))
    with pytest.raises(Conflict):
        target.apply(wish(packages, 1), expect=number - 1)
    assert target.observe().number == number


def test_a_warm_package_answers_next(target: Target, packages: dict[str, str]) -> None:
    target.apply(wish(packages, 0, (1,)))
    until(lambda: target.observe().settled and len(target.observe().ready) == 2)
    target.apply(wish(packages, 1, (0,)))
    until(lambda: target.observe().settled)
    assert answer(target) == (200, "2")


def test_a_package_that_does_not_prove_itself_is_named_and_the_old_one_answers(
    target: Target, packages: dict[str, str]
) -> None:
    target.apply(wish(packages, 1, (0,)))
    until(lambda: target.observe().settled)
    wrong = list(packages)[2]
    target.apply(wish(packages, 1, (0, 2)))
    until(lambda: wrong in target.observe().failed)
    assert wrong not in target.observe().ready
    assert answer(target) == (200, "2")


def test_removed_it_runs_no_more_and_starts_again_by_the_same_wish(target: Target, packages: dict[str, str]) -> None:
    target.apply(wish(packages, 1, (0,)))
    until(lambda: target.observe().settled)
    target.remove()
    target.remove()
    status = target.observe()
    assert (status.running, status.ready, status.settled) == (False, (), False)
    target.apply(status.wish)
    until(lambda: target.observe().settled)
    assert answer(target) == (200, "2")
