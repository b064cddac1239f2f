"""Two languages, the same keys, every place filled, and nothing on a page that is no text."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter
from typing import get_args, get_type_hints

import pytest
from starlette.requests import Request

from penstock.adapters import TABLE
from penstock.console import language
from penstock.console.language import LANGUAGES, TABLES, Texts, texts_of
from penstock.records import Incident, Proposal, Settled, Step, Verdict
from penstock.registry.events import KINDS

SOURCE = Path(language.__file__).parent


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def used() -> set[str]:
    """Every key that is written out in a template or a module of the console."""
    found: set[str] = set()
    for path in [*SOURCE.rglob("*.html"), *SOURCE.rglob("*.py")]:
        found |= set(re.findall(r"""\bt\(\s*["']([a-z0-9_]+\.[a-z0-9_.-]+)["']""", path.read_text("utf-8")))
    return found


def choices(kind: type, field: str) -> tuple[str, ...]:
    return get_args(get_type_hints(kind)[field])


def test_both_languages_have_the_same_keys() -> None:
    assert TABLES["en"].keys() == TABLES["zh"].keys()


@pytest.mark.parametrize("key", sorted(TABLES["en"]))
def test_both_fill_the_same_places(key: str) -> None:
    assert places(TABLES["en"][key]) == places(TABLES["zh"][key])
    assert TABLES["en"][key].strip()
    assert TABLES["zh"][key].strip()


def test_every_key_that_is_used_exists() -> None:
    assert len(used()) > 150
    assert used() - TABLES["en"].keys() == set()


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("event", tuple(KINDS)),
        ("phase", choices(Step, "phase")),
        ("phase", choices(Settled, "outcome")),
        ("verdict", choices(Verdict, "outcome")),
        ("severity", choices(Incident, "severity")),
        ("action", choices(Proposal, "action")),
        ("strategy", tuple(TABLE["strategy"])),
        ("check", tuple(TABLE["check"])),
        ("role", ("viewer", "operator", "approver", "admin", "train", "validation", "test")),
    ],
)
def test_what_records_say_has_words(group: str, names: tuple[str, ...]) -> None:
    assert [name for name in names if f"{group}.{name}" not in TABLES["zh"]] == []


def test_a_missing_key_is_an_error_and_an_unknown_name_is_itself() -> None:
    with pytest.raises(KeyError):
        Texts("en")("no.such.key")
    assert Texts("zh").named("check", "brand-new") == "brand-new"


@pytest.mark.parametrize(
    ("accepts", "cookie", "chosen"),
    [
        ("", "", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "", "zh"),
        ("en;q=0.5, zh;q=0.6", "", "zh"),
        ("fr-FR, de;q=0.9", "", "en"),
        ("zh", "en", "en"),
        ("en", "zh", "zh"),
        ("en", "xx", "en"),
        (";q=,;;q=x,zh;q=", "", "zh"),
    ],
)
def test_the_visitor_s_language(accepts: str, cookie: str, chosen: str) -> None:
    headers = [(b"accept-language", accepts.encode()), (b"cookie", f"penstock_language={cookie}".encode())]
    assert texts_of(Request({"type": "http", "headers": headers})).language == chosen
    assert chosen in LANGUAGES
