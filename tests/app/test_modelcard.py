"""The model card: nothing but what records show, "not shown" for the rest, and nobody's text becomes markup."""

from __future__ import annotations

import hashlib
import html.parser
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import joblib
import msgspec
import numpy as np
import pandas as pd
import pytest
import yaml
from deltalake import write_deltalake
from markdown_it import MarkdownIt
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from console_for_tests import Home, seeded_home
from penstock.app.app import App
from penstock.app.cardfacts import NOT_SHOWN, CardSection, Fact
from penstock.app.cardpages import html_card, markdown_card
from penstock.app.checking import check
from penstock.app.declaring import declared_of, read_declared
from penstock.app.modelcard import ModelCard, bill_bytes, card_of
from penstock.app.opening import open_app
from penstock.app.releasing import approve
from penstock.errors import BadConfig, NotFound
from penstock.records import Declared

HOSTILE = "<script>alert(1)</script> | [x](http://evil.example) ![i](x) `c` *b* \u202e www.evil.example\n# head\n- item"


def facts(card: ModelCard, key: str) -> dict[str, str]:
    (section,) = [one for one in card.sections if one.key == key]
    return {one.name: one.value for one in section.facts}


def tables(card: ModelCard, key: str) -> dict[str, list[dict[str, str]]]:
    (section,) = [one for one in card.sections if one.key == key]
    return {one.title: [dict(zip(one.columns, row, strict=True)) for row in one.rows] for one in section.tables}


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> App:
    """A model that was packaged, as it is typed, with all that can be said of it, and checked on 1,200 rows."""
    place = tmp_path_factory.mktemp("card")
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"delay": rng.normal(size=2400).round(2), "night": rng.integers(0, 2, 2400)})
    rows["late"] = (rows["delay"] + 0.4 * rng.normal(size=2400) > 0).astype(int)
    rows["day"] = pd.date_range("2024-01-01", periods=2400, freq="30min").astype(str)
    columns = ColumnTransformer([("both", "passthrough", ["delay", "night"])])
    model = make_pipeline(columns, LogisticRegression()).fit(rows[["delay", "night"]][:1200], rows["late"][:1200])
    joblib.dump(model, place / "model.joblib")
    rows[1200:].to_csv(place / "validation.csv", index=False)
    write_deltalake(str(place / "train"), rows[:1200])
    write_deltalake(str(place / "train"), rows[:7], mode="overwrite")
    said = {"intended_use": "to plan gates", "owner": HOSTILE, "risk": "low", "limitations": "not for freight"}
    (place / "card.yaml").write_text(yaml.safe_dump(said))
    git(place, "init", "--quiet")
    git(place, "add", "card.yaml")
    git(place, "commit", "--quiet", "-m", "card")
    (place / "train.py").touch()
    words = [
        "package",
        "model.joblib",
        "--name",
        "late",
        "--data",
        "train=train@0",
        "--data",
        "validation=validation.csv",
    ]
    done = typed(place, *words, "--label", "late", "--time", "day", "--card", "card.yaml", "--json")
    assert done.returncode == 0, done.stderr
    app = open_app(place / ".penstock")
    check(app, "late@1")
    return app


def typed(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Type `penstock ...` in a folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    command = [sys.executable, "-m", "penstock", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=Vera", "-c", "user.email=vera@example.org"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def card(lived: App) -> ModelCard:
    return card_of(lived, "late")


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return seeded_home(tmp_path_factory.mktemp("seeded"))


# -- what stands in it ---------------------------------------------------------------------------


def test_data_stand_there_with_digest_rows_and_time(lived: App, card: ModelCard) -> None:
    rows = {one["part"]: one for one in tables(card, "data")["Packaged with"]}
    digest = hashlib.sha256((lived.home.parent / "validation.csv").read_bytes()).hexdigest()
    assert rows["validation"]["digest"] == f"sha256:{digest}"
    assert (rows["train"]["rows"], rows["train"]["from"]) == ("1,200", "2024-01-01 00:00 UTC")
    assert (rows["train"]["kind"], rows["train"]["revision"]) == ("delta", "0")  # which a later version replaced
    assert rows["validation"]["to"] == "2024-02-19 23:30 UTC"
    assert facts(card, "data") == {"test rows": NOT_SHOWN}
    assert {one["digest"] for one in tables(card, "data")["Checked on"]} == {one["digest"] for one in rows.values()}


def test_metrics_are_those_of_the_verdict_overall_and_by_slice(lived: App, card: ModelCard) -> None:
    verdict = lived.resolve("late").verdict
    assert verdict is not None
    skill = next(one for one in verdict.findings if "guessing" in one.limits)
    assert facts(card, "metrics")[skill.title] == skill.message
    shown = tables(card, "metrics")
    overall = {one["metric"]: one["candidate"] for one in shown["Every metric"]}
    assert float(overall["AUC"]) == pytest.approx(skill.measured["auc"], abs=1e-3)
    (by_slice,) = [rows for title, rows in shown.items() if "by slice" in title]
    assert {"night = 0", "night = 1"} <= {one["part"] for one in by_slice}


def test_every_fact_that_is_shown_names_its_record(lived: App, card: ModelCard) -> None:
    events = {f"event {one.seq} {one.hash}": one.kind for one in lived.registry.events()}
    for section in card.sections:
        for one in section.facts:
            if one.shown:
                assert one.evidence, f"{section.key}: {one.name}"
                if one.evidence.startswith("event "):
                    assert events[one.evidence] in ("version.registered", "verdict.given", "alias.moved")
    assert facts(card, "use")["intended use"] == "to plan gates"
    assert facts(card, "people")["author"] == lived.identity.name
    assert facts(card, "lineage")["code commit"] == git(lived.home.parent, "rev-parse", "HEAD")
    assert facts(card, "lineage")["code beside the commit"] == "1 not in git"
    assert "scikit-learn" in facts(card, "environment")["distributions"]


def test_what_no_record_shows_is_said_in_so_many_words(card: ModelCard) -> None:
    lacking = {(section.key, one.name) for section in card.sections for one in section.facts if one.value == NOT_SHOWN}
    assert {
        ("fairness", "declared"),
        ("fairness", "measured"),
        ("explanation", "measured"),
        ("people", "approvals"),
        ("use", "users"),
        ("released", "answers now"),
        ("lineage", "parent"),
        ("lineage", "repository"),
    } <= lacking
    for text in (html_card(card), markdown_card(card)):
        assert text.count(NOT_SHOWN) > len(lacking)


def test_approvals_releases_and_bypasses_come_from_the_registry(seeded: Home) -> None:
    first, second, fourth = (card_of(seeded.app, f"flights@{number}") for number in (1, 2, 4))
    (approval,) = tables(first, "people")["Approvals"]
    assert (approval["who"], approval["as"], approval["comment"]) == ("anna", "approver", "read the report")
    assert approval["record"].startswith("event ")
    assert facts(first, "released")["answers now"] == "flights (50%)"
    assert facts(first, "about")["aliases"] == "champion"
    assert [one["endpoint"] for one in tables(first, "released")["Releases"]] == [
        "flights #1",
        "flights #2",
        "flights #3",
    ]
    (canary,) = tables(second, "released")["Releases"]
    assert canary["strategy"] == "canary"
    assert canary["came to"].startswith("rolled_back")
    assert facts(fourth, "people")["approvals"] == NOT_SHOWN
    assert "Releases" not in tables(fourth, "released")
    refused = card_of(seeded.app, "taxi@1")
    (against, _) = tables(refused, "limits")["What the gate found"]
    assert (against["answer"], against["weight"]) == ("no", "blocks")


def test_equal_registries_give_equal_cards_and_an_event_another(seeded: Home) -> None:
    once = card_of(seeded.app, "flights@4")
    assert html_card(card_of(seeded.app, "flights@4")) == html_card(once)
    anna = open_app(seeded.app.home, token=seeded.tokens["anna"])
    approve(anna, "flights@4", "approver")
    again = card_of(seeded.app, "flights@4")
    assert again.seq == once.seq + 1
    assert tables(again, "people")["Approvals"][0]["who"] == "anna"


# -- nobody's text is markup ---------------------------------------------------------------------


class _Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.names: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.names |= {name for name, _ in attrs}
        assert all(value is None or value.startswith("#") for name, value in attrs if name in ("href", "src"))


def test_a_hostile_text_stays_text_in_html(card: ModelCard) -> None:
    page = html_card(card)
    seen = _Tags()
    seen.feed(page)
    assert not seen.tags & {"script", "img", "iframe", "link", "object"}
    assert not {name for name in seen.names if name.startswith("on")}
    assert "&lt;script&gt;" in page
    assert "\u202e" not in page
    assert not re.search(r"url\(|@import|https?://", page.replace("http://evil.example", ""))


def test_a_hostile_text_stays_text_in_markdown(card: ModelCard) -> None:
    reader = MarkdownIt("commonmark", {"linkify": False}).enable("table")
    tokens = reader.parse(markdown_card(card))
    inline = [child for token in tokens for child in token.children or ()]
    assert not [one for one in inline if one.type in ("link_open", "image", "html_inline")]
    assert not [one for one in tokens if one.type == "html_block"]
    assert [one.content for one in inline if one.type == "code_inline"] == [card.digest, card.head]
    assert [one.tag for one in tokens if one.type == "heading_open"] == ["h1"] + ["h2"] * len(card.sections)
    columns = [len(table.columns) for section in card.sections for table in section.tables]
    heads = "".join("h" if one.type == "th_open" else "/" for one in tokens if one.type in ("th_open", "tbody_open"))
    assert [len(one) for one in heads.split("/") if one] == columns
    text = "".join(one.content for one in inline if one.type == "text")
    assert "<script>alert(1)</script> | [x](http://evil.example)" in text
    assert "\u202e" not in markdown_card(card)
    assert "http://" not in markdown_card(card)


# -- declared facts ------------------------------------------------------------------------------


def test_figures_stay_figures_in_markdown(card: ModelCard) -> None:
    text = markdown_card(card)
    assert "| 0." in text
    assert not re.search(r"\\[0-9A-Za-z]", text)  # a reader would see such a backslash
    said = ("1. item", "- item", "--- x", "> said", "0.5", "-0.5")
    use = CardSection(key="use", title="Use", facts=tuple(Fact(name="n", value=one) for one in said))
    lines = markdown_card(msgspec.structs.replace(card, sections=(use,))).splitlines()
    shown = [line.removeprefix("- **n**: ") for line in lines if line.startswith("- **n**: ")]
    assert shown == ["1\\. item", "\\- item", "\\--- x", "\\> said", "0.5", "-0.5"]


def test_declared_facts_are_read_from_yaml(tmp_path: Path) -> None:
    file = tmp_path / "card.yaml"
    file.write_text("intended_use: |\n  To plan gates.\n  Nothing else.\nrisk: high\nowner: Ops\n")
    assert read_declared(file) == Declared(intended_use="To plan gates.\nNothing else.", risk="high", owner="Ops")
    for text in ("risk: deadly", "intended_us: x", "owner: 3", "- owner", "owner: [", f"owner: {'x' * 5000}"):
        file.write_text(text)
        with pytest.raises(BadConfig) as refusal:
            read_declared(file)
        assert "deadly" not in str(refusal.value)
    with pytest.raises(BadConfig) as refusal:
        declared_of({"intended_us": "x"})
    assert "intended_use" in refusal.value.hint
    with pytest.raises(NotFound):
        read_declared(tmp_path / "none.yaml")


# -- the verb ------------------------------------------------------------------------------------


def test_the_verb_writes_card_and_bill(lived: App, card: ModelCard, tmp_path: Path) -> None:
    place = lived.home.parent
    files = ["--output", str(tmp_path / "card.html"), "--sbom", str(tmp_path / "bom.json")]
    written = typed(place, "card", "late@1", *files, "--json")
    assert written.returncode == 0, written.stderr
    assert json.loads(written.stdout)["sections"][0]["key"] == "about"
    assert (tmp_path / "card.html").read_text() == html_card(card)
    manifest = lived.open_package(card.digest).manifest
    bill = (tmp_path / "bom.json").read_bytes()
    assert hashlib.sha256(bill).hexdigest() == manifest.files["sbom.json"].sha256
    assert json.loads(bill)["metadata"]["component"]["modelCard"]["considerations"]["useCases"] == ["to plan gates"]
    assert typed(place, "card", "late@1", "--output", str(tmp_path / "card.pdf")).returncode == 1


def test_a_package_of_before_has_a_card_and_no_bill(seeded: Home) -> None:
    assert facts(card_of(seeded.app, "flights@1"), "environment")["bill of materials"] == NOT_SHOWN
    with pytest.raises(NotFound, match="before"):
        bill_bytes(seeded.app, "flights@1")
