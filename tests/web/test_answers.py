"""Records as JSON: nothing left out; a generation is an ETag and may be held."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from console_for_tests import Home
from penstock.app.plain import plain
from penstock.errors import Conflict, InvalidInput
from penstock.records import Variant
from penstock.web.answers import answer, hold_generation


@dataclass
class Pair:
    left: Variant
    right: frozenset[str]


def test_defaults_are_spelled_out() -> None:
    made = plain(Variant(name="stable", model="m", version=1, digest="d"))
    assert made == {"name": "stable", "model": "m", "version": 1, "digest": "d", "share": 1.0, "shadow": False}


def test_what_records_hold_is_plain_too() -> None:
    variant = Variant(name="stable", model="m", version=1, digest="d")
    made = plain({"pairs": (Pair(variant, frozenset({"b", "a"})),), 3: None})
    assert made == {"pairs": [{"left": plain(variant), "right": ["a", "b"]}], "3": None}


def test_a_generation_is_an_etag() -> None:
    response = answer({"a": 1}, status=201, generation=7)
    assert (response.status_code, response.headers["etag"], json.loads(response.body)) == (201, '"7"', {"a": 1})
    assert "etag" not in answer({}).headers


def test_an_older_generation_is_a_conflict(home: Home) -> None:
    subject = "endpoint/flights"
    now = home.app.state().generation(subject)
    for sent in (None, "", f'"{now}"', str(now), f'W/"{now}"'):
        hold_generation(home.app, subject, sent)
    with pytest.raises(Conflict):
        hold_generation(home.app, subject, f'"{now - 1}"')
    with pytest.raises(InvalidInput):
        hold_generation(home.app, subject, '"x"')
