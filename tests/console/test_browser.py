"""A real browser drives the console on a real home: sign in, release, roll back, approve, read the charts.

Needs Chromium (Debian and Ubuntu: ``apt-get install chromium``). Without it these tests are skipped, except where
``CI`` is set: there they fail.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from console_for_tests import Home, Server, observed, seeded_home
from penstock.app.views import write_observed
from penstock.web.links import login_link

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
MISSING = not Path(CHROMIUM).exists()
expect.set_options(timeout=30_000)  # other tests may run beside these
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(MISSING and os.environ.get("CI") != "true", reason="no Chromium here: apt-get install chromium"),
]
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"]
COLOURS = """() => [...document.querySelectorAll("h1, h2, .muted, .badge, td, th, dt, button, nav a, p")].map(part => {
  let ground = part;
  while (getComputedStyle(ground).backgroundColor === "rgba(0, 0, 0, 0)") ground = ground.parentElement;
  return [part.textContent.trim(), getComputedStyle(part).color, getComputedStyle(ground).backgroundColor];
})"""
PAGES = (
    "/", "/models", "/models/flights", "/models/flights/versions/4", "/endpoints/flights",
    "/endpoints/flights/monitoring", "/events", "/trace",
)  # fmt: skip


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return seeded_home(tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="module")
def address(lived: Home) -> Iterator[str]:
    server = Server(lived.web())
    server.start()
    yield server.url
    server.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()


class Visit:
    """A browser window whose complaints and outside requests are kept."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.page = context.new_page()
        self.address = address
        self.wrong: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda request: self._watch(request.url))

    def sign_in(self, token: str) -> Page:
        self.page.goto(f"{self.address}/login")
        self.page.fill("input[name=token]", token)
        self.page.click("main button[type=submit]")
        self.page.wait_for_url(f"{self.address}/")
        return self.page

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(message.text)

    def _watch(self, url: str) -> None:
        if not url.startswith(self.address):
            self.wrong.append(f"asked for {url}")


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
    visiting = Visit(context, address)
    yield visiting
    context.close()
    assert visiting.wrong == []


def test_sign_in_look_around_sign_out(visit: Visit, lived: Home) -> None:
    page = visit.sign_in(lived.tokens["vera"])
    expect(page.locator("h1")).to_have_text("Overview")
    expect(page.locator("#attention li").first).to_contain_text("Predicted delays are too high")
    page.click("#endpoints h3 a")
    expect(page.locator("h1")).to_contain_text("flights")
    expect(page.locator("#release-form")).to_have_count(0)
    page.click("text=Sign out")
    page.wait_for_url("**/login")
    page.goto(f"{visit.address}/models")
    page.wait_for_url("**/login?next=/models")


def test_a_wrong_token_stays_outside(visit: Visit) -> None:
    page = visit.page
    page.goto(f"{visit.address}/login")
    page.fill("input[name=token]", "pst_nonsense")
    page.click("main button[type=submit]")
    expect(page.locator("[role=alert]")).to_contain_text("not known")
    visit.wrong.clear()  # The browser reports the 403 as an error.


def test_the_one_time_link_signs_in_once(visit: Visit, lived: Home, browser: Browser) -> None:
    link = login_link(lived.app)
    visit.page.goto(f"{visit.address}{link}")
    visit.page.wait_for_url(f"{visit.address}/")
    expect(visit.page.locator(".who")).to_have_text("admin")
    other = browser.new_context().new_page()
    other.goto(f"{visit.address}{link}")
    expect(other.locator("[role=alert]")).to_contain_text("used already")


def test_approve_release_and_roll_back(visit: Visit, lived: Home, browser: Browser) -> None:
    anna = visit.sign_in(lived.tokens["anna"])
    anna.goto(f"{visit.address}/models/flights/versions/4")
    anna.fill("#approval-form input[name=comment]", "<b>read</b> it")
    anna.click("#approval-form button")
    expect(anna.locator(".notice")).to_contain_text("Approved")
    expect(anna.locator("#approvals")).to_contain_text("<b>read</b> it")
    approvals = lived.app.state().version("flights", 4).approvals
    assert [(approval.by, approval.role) for approval in approvals] == [("anna", "approver")]

    otto = Visit(browser.new_context(locale="en-GB"), visit.address).sign_in(lived.tokens["otto"])
    otto.goto(f"{visit.address}/endpoints/flights")
    otto.click("text=Release a version")
    otto.select_option("#release-form select[name=version]", "flights@4")
    otto.select_option("#release-form select[name=strategy]", "canary")
    otto.fill("#release-form input[name=share]", "20")
    otto.fill("#release-form input[name=reason]", "retrained on June")
    otto.click("#release-form button")
    expect(otto.locator(".notice")).to_contain_text("Release requested")
    wished = lived.app.state().endpoint("flights").current
    assert (wished.by, wished.strategy, wished.guards.share, wished.reason) == (
        "otto",
        "canary",
        0.2,
        "retrained on June",
    )
    assert {variant.version for variant in wished.variants} >= {4}
    expect(otto.locator("#history tbody tr").first).to_contain_text("retrained on June")

    otto.click("details.danger summary")
    otto.select_option("#rollback-form select[name=to]", "1")
    button = otto.locator("#rollback-form button")
    button.click()
    assert lived.app.state().endpoint("flights").current == wished, "it asks whether one is sure"
    otto.check("#rollback-form input[type=checkbox]")
    button.click()
    expect(otto.locator(".notice")).to_contain_text("Rollback requested")
    after = lived.app.state().endpoint("flights").current
    assert (after.by, {variant.version for variant in after.variants}) == ("otto", {1})


def test_who_looked_at_an_older_state_is_told(visit: Visit, lived: Home) -> None:
    page = visit.sign_in(lived.tokens["root"])
    page.goto(f"{visit.address}/endpoints/flights")
    page.evaluate("document.querySelector('#rollback-form input[name=expect]').value = '1'")
    page.click("details.danger summary")
    page.check("#rollback-form input[type=checkbox]")
    page.click("#rollback-form button")
    expect(page.locator("h1")).to_have_text("Somebody was faster")
    visit.wrong.clear()  # The browser reports the 409 as an error.


def test_the_charts_can_be_read(visit: Visit, lived: Home) -> None:
    page = visit.sign_in(lived.tokens["vera"])
    page.goto(f"{visit.address}/endpoints/flights")
    evidence = page.get_by_role("img", name="Evidence against the candidate (e-value)")
    expect(evidence).to_be_visible()
    expect(evidence.locator("path.curve")).to_have_count(3)
    expect(evidence.locator(".limit-label")).to_have_text("taken back at 100")
    figures = page.locator("#rollout figure details.figures")
    figures.locator("summary").click()
    expect(figures.locator("tbody tr").first).to_contain_text("2013-05-15 18:00:00")
    last = [series.values[-1] for _, series in sorted(observed().endpoints["flights"].evidence.items())]
    shown = figures.locator("tbody tr").first.locator("td").all_inner_texts()[1:]
    assert [float(cell.replace(",", "")) for cell in shown] == pytest.approx(last, rel=0.01)
    page.goto(f"{visit.address}/endpoints/flights/monitoring")
    for name in ("AUC", "Calibration", "Drift of each column, as a multiple of its own limit"):
        expect(page.get_by_role("img", name=name)).to_be_visible()
    expect(page.locator("#quality")).to_contain_text("Outcomes reject this assumption")
    expect(page.locator("#drift")).to_contain_text("3.4× · moved")
    assert page.locator("#incidents article").count() == 2


def test_live_parts_follow_and_what_is_open_stays_open(visit: Visit, lived: Home) -> None:
    page = visit.sign_in(lived.tokens["vera"])
    page.goto(f"{visit.address}/endpoints/flights")
    page.click("#rollout figure details.figures summary")
    seen = observed()
    changed = {"flights": type(seen.endpoints["flights"])(endpoint="flights", release=3, requests=424_242)}
    write_observed(lived.app.home, type(seen)(at=seen.at, url=seen.url, workers=2, workers_ready=2, endpoints=changed))
    try:
        expect(page.locator("#now")).to_contain_text("424,242")
        assert page.locator("#rollout figure details.figures").get_attribute("open") is not None
    finally:
        write_observed(lived.app.home, seen)


def test_verify_and_filter_events(visit: Visit, lived: Home) -> None:
    page = visit.sign_in(lived.tokens["vera"])
    page.goto(f"{visit.address}/events")
    page.click("text=Verify the whole chain")
    expect(page.locator("#verification")).to_contain_text("Intact")
    page.select_option("#filter select", "approval.given")
    page.click("#filter button")
    expect(page.locator("table.events tbody tr").first).to_contain_text("Version approved")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_phone_shows_every_page_whole(browser: Browser, address: str, lived: Home, language: str) -> None:
    locale = "zh-CN" if language == "zh" else "en-GB"
    context = browser.new_context(viewport={"width": 360, "height": 780}, is_mobile=True, locale=locale)
    visiting = Visit(context, address)
    page = visiting.sign_in(lived.tokens["root"])
    for path in PAGES:
        page.goto(f"{address}{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
        assert page.evaluate("document.documentElement.lang") == ("zh-CN" if language == "zh" else "en")
    context.close()
    assert visiting.wrong == []


def test_dark_and_light_keep_text_readable(browser: Browser, address: str, lived: Home) -> None:
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme)  # type: ignore[arg-type]
        page = Visit(context, address).sign_in(lived.tokens["root"])
        pairs = page.evaluate(COLOURS)
        weak = [(text, contrast(ink, ground)) for text, ink, ground in pairs if contrast(ink, ground) < 4.5]
        assert weak == [], scheme
        context.close()


def contrast(ink: str, ground: str) -> float:
    """WCAG 2 contrast ratio of two ``rgb(r, g, b)``."""
    light, dark = sorted((luminance(ink), luminance(ground)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    channels = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
