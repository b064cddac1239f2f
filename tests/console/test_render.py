"""Every page in both languages, of a home that has lived and of a new one; buttons only for who may press them."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from console_for_tests import ANSWERED, PEOPLE, Home
from penstock.api.server import create
from penstock.app.opening import open_app
from penstock.console.language import TABLES
from penstock.console.routes import ROUTES
from penstock.registry.events import KINDS

PAGES = (
    "/",
    "/models",
    "/models/flights",
    "/models/flights/versions/4",
    "/models/taxi/versions/1",
    "/endpoints/flights",
    "/endpoints/flights/monitoring",
    "/events",
    "/events?kind=verdict.given&subject=model/flights",
    "/trace",
    "/trace?prediction=nothing.0",
    f"/trace?prediction={ANSWERED}.1",
    "/login",
    "/models/nope",
)
VOID = {"meta", "link", "input", "br", "hr", "img"}


class Balance(HTMLParser):
    """Complains of a tag left open, an inline script or style, an address elsewhere; counts ids."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        known = dict(attributes)
        if tag not in VOID:
            self.open.append(tag)
        if "id" in known:
            self.ids.append(str(known["id"]))
        assert "style" not in known, "an inline style"
        assert not [name for name in known if name.startswith("on")], "an inline handler"
        assert tag != "style"
        assert tag != "script" or "src" in known
        for name in ("src", "href", "action"):
            assert str(known.get(name, "/"))[:1] in "/#", f"an outside address in {tag}"

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """An empty SVG element closes itself."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def signed_in(home: Home, who: str, **headers: str) -> TestClient:
    client = TestClient(home.web(), base_url="http://localhost", headers=headers)
    client.post("/login", data={"token": home.tokens[who]}, headers={"origin": "http://localhost"})
    return client


@pytest.fixture(scope="module", params=["en", "zh"])
def reader(home: Home, request: pytest.FixtureRequest) -> tuple[str, TestClient]:
    return request.param, signed_in(home, "root", **{"accept-language": request.param})


@pytest.mark.parametrize("path", PAGES)
def test_each_page_is_whole_in_each_language(reader: tuple[str, TestClient], path: str) -> None:
    language, client = reader
    answer = client.get(path)
    assert answer.status_code == (404 if path == "/models/nope" else 200)
    assert f'lang="{"zh-CN" if language == "zh" else "en"}"' in answer.text
    assert TABLES[language]["nav.overview"] in answer.text
    # A key that reached the page instead of its text.
    assert set(re.findall(r">\s*([a-z]+\.[a-z_]+)\s*<", answer.text)) <= {*KINDS, "registry.not_found"}
    balance = Balance()
    balance.feed(answer.text)
    assert balance.open == []
    assert len(balance.ids) == len(set(balance.ids))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_new_home_is_not_an_empty_page(tmp_path: Path, language: str) -> None:
    app = open_app(tmp_path / "home")
    client = TestClient(create(app, pages=ROUTES), base_url="http://localhost", headers={"accept-language": language})
    client.post("/login", data={"token": app.registry.local_token()}, headers={"origin": "http://localhost"})
    words = TABLES[language]
    overview = client.get("/").text
    assert words["overview.calm"] in overview
    assert words["overview.no_endpoints_detail"] in overview
    assert words["model.none_detail"].replace("'", "&#39;") in client.get("/models").text
    assert "identity.added" in client.get("/events").text


BUTTONS = {
    "/endpoints/flights": {"release": 'action="/releases"', "rollback": 'action="/endpoints/flights/rollback"'},
    "/models/flights/versions/4": {
        "check": "/versions/4/check",
        "approve": "/versions/4/approvals",
        "release": 'action="/releases"',
    },
}


@pytest.mark.parametrize("who", PEOPLE)
def test_buttons_are_only_for_who_may_press_them(home: Home, who: str) -> None:
    client = signed_in(home, who)
    allowed = set(client.get("/api/v1/me").json()["permissions"])
    for path, buttons in BUTTONS.items():
        text = client.get(path).text
        shown = {permission for permission, mark in buttons.items() if mark in text}
        assert shown == allowed & set(buttons), path
