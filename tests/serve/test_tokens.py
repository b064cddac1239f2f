"""Who may ask: tokens on endpoints that are not public, revoked with the next snapshot."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataplane_for_tests import DataPlane, route, until, v2
from packages_for_tests import linear_package
from penstock.access.tokens import new_token, token_sha256
from penstock.records import Grant

BODY = v2([[1.0, 2.0, 3.0, 4.0]])
TOKENS = {name: new_token() for name in ("may", "other", "reader", "expired", "late")}
GRANTS = (
    Grant(token_sha256=token_sha256(TOKENS["may"]), subject="ann", permissions=("predict",)),
    Grant(token_sha256=token_sha256(TOKENS["other"]), subject="bob", permissions=("predict",), endpoints=("open",)),
    Grant(token_sha256=token_sha256(TOKENS["reader"]), subject="cem", permissions=("read",)),
    Grant(token_sha256=token_sha256(TOKENS["expired"]), subject="dan", permissions=("predict",), expires_at=1.0),
)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    home = tmp_path_factory.mktemp("guarded")
    plane = DataPlane(home)
    digest = plane.add(linear_package, home / "p")
    plane.write(route("closed", digest, public=False), route("open", digest), grants=GRANTS)
    plane.start("--spares", "0", workers=1)
    try:
        plane.settled(workers=1)
        yield plane
    finally:
        plane.stop()


def ask(plane: DataPlane, path: str, token: str = "", method: str = "POST") -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return plane.ask(method, path, BODY if method == "POST" else b"", headers).status


@pytest.mark.parametrize(
    ("token", "status"),
    [("", 401), ("pst_nothing", 401), (TOKENS["expired"], 401), (TOKENS["may"], 200), (TOKENS["other"], 403),
     (TOKENS["reader"], 403)],
    ids=["none", "unknown", "expired", "may", "for another endpoint", "reader"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v2/models/closed/infer", "/v1/models/closed:predict"])
def test_a_closed_endpoint(guarded: DataPlane, path: str, token: str, status: int) -> None:
    body = '{"instances":[[1,2,3,4]]}' if path.startswith("/v1") else BODY
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    assert guarded.ask("POST", path, body, headers).status == status


def test_whoever_may_not_ask_does_not_see_it(guarded: DataPlane) -> None:
    assert ask(guarded, "/v2/models/closed", method="GET") == ask(guarded, "/v2/models/nothing", method="GET") == 404
    assert ask(guarded, "/v2/models/closed/ready", TOKENS["may"], "GET") == 200
    assert guarded.ask("GET", "/v2/models").json == {"models": ["open"]}


def test_an_open_endpoint_needs_no_token_and_knows_who_has_one(guarded: DataPlane) -> None:
    assert ask(guarded, "/v2/models/open/infer") == 200
    assert ask(guarded, "/v2/models/open/infer", "pst_nothing") == 200
    assert ask(guarded, "/v2/models/open/infer", TOKENS["other"]) == 200
    until(lambda: "bob" in {one.subject for one in guarded.exchanges()})


def test_metrics_need_a_token_where_something_is_closed(guarded: DataPlane) -> None:
    assert ask(guarded, "/metrics", method="GET") == 401
    assert ask(guarded, "/metrics", TOKENS["reader"], "GET") == 200


def test_a_revoked_token_is_refused_within_a_second(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    digest = plane.add(linear_package, tmp_path / "p")
    wrong = plane.add(linear_package, tmp_path / "wrong", wrong=True)
    plane.write(route("closed", digest, public=False), grants=GRANTS)
    plane.start(workers=1)
    try:
        plane.settled(workers=1)
        assert ask(plane, "/v2/models/closed/infer", TOKENS["may"]) == 200
        # Even where the same snapshot asks for a package that never gets ready.
        plane.write(route("closed", wrong, public=False))
        revoked = time.monotonic()
        until(lambda: ask(plane, "/v2/models/closed/infer", TOKENS["may"]) == 401)
        assert time.monotonic() - revoked < 1.0
    finally:
        plane.stop()


def start(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "penstock.serve", *options], capture_output=True, text=True, timeout=90
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_an_address_that_others_reach_is_refused(tmp_path: Path, host: str) -> None:
    done = start("--run-dir", str(tmp_path), "--host", host)
    assert done.returncode == 1
    assert "127.0.0.1" in done.stderr
    assert not list(tmp_path.iterdir())


def test_behind_a_front_every_request_needs_a_token(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    digest = plane.add(linear_package, tmp_path / "p")
    plane.write(route("open", digest), grants=GRANTS)
    plane.start("--behind", "proxy", workers=1)
    try:
        plane.settled(workers=1)
        assert ask(plane, "/v2/models/open/infer") == 401
        assert ask(plane, "/v2/models/open/infer", TOKENS["other"]) == 200
        assert ask(plane, "/v2/health/ready", method="GET") == 200
    finally:
        plane.stop()


def test_nothing_to_serve_is_said(tmp_path: Path) -> None:
    done = start()
    assert done.returncode == 1
    assert "--package" in done.stderr
