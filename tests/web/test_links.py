"""The one-time login link: an administrator's, once, for a short while."""

from __future__ import annotations

import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient

from console_for_tests import Home, acting
from penstock.errors import Forbidden
from penstock.records import encode
from penstock.web.links import LIFETIME_S, Login, login_link, take_login
from penstock.web.sessions import COOKIE


def code_of(link: str) -> str:
    return link.removeprefix("/login?code=")


def test_it_signs_in_once(home: Home) -> None:
    client = TestClient(home.web(), base_url="http://localhost", follow_redirects=False)
    link = login_link(home.app)
    first = client.get(link)
    assert first.status_code == 200
    assert COOKIE in first.cookies
    assert client.get("/api/v1/me").json()["name"] == "admin"
    client.cookies.clear()
    second = client.get(link)
    assert second.status_code == 403
    assert COOKIE not in second.cookies


def test_it_goes_on_to_a_page_of_ours_only(home: Home) -> None:
    client = TestClient(home.web(), base_url="http://localhost", follow_redirects=False)
    assert 'url=/endpoints/flights"' in client.get(f"{login_link(home.app)}&next=/endpoints/flights").text
    assert 'url=/"' in client.get(f"{login_link(home.app)}&next=https://evil.example/").text


def test_only_one_of_many_takes_it(home: Home) -> None:
    code = code_of(login_link(home.app))
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: take_login(home.app.home, code), range(8)))
    assert sorted(taken) == [""] * 7 + ["admin"]


@pytest.mark.parametrize("who", ["vera", "otto", "anna"])
def test_only_an_administrator_makes_one(home: Home, who: str) -> None:
    with pytest.raises(Forbidden):
        login_link(acting(home.app, who))


def test_it_expires(home: Home) -> None:
    code = code_of(login_link(home.app))
    folder = home.app.home / "run" / "logins"
    for path in folder.iterdir():
        path.write_bytes(encode(Login(identity="admin", expires_at=time.time() - 1)))
    assert take_login(home.app.home, code) == ""


def test_only_its_hash_is_kept_and_only_for_the_owner(home: Home) -> None:
    code = code_of(login_link(home.app))
    kept = list((home.app.home / "run" / "logins").iterdir())
    assert all(code not in path.name and code not in path.read_text() for path in kept)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in kept)


def test_what_nobody_used_is_cleared(home: Home) -> None:
    login_link(home.app)
    folder = home.app.home / "run" / "logins"
    for path in folder.iterdir():
        os.utime(path, (0, time.time() - 2 * LIFETIME_S))
    login_link(home.app)
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("code", ["", "../../keys/token", "x" * 500, "\x00", "漢字"])
def test_any_other_code_is_no_code(home: Home, code: str) -> None:
    assert take_login(home.app.home, code) == ""
