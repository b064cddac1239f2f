"""The console's words: one table a language, and which one a visitor reads.

What comes in: a cookie, an ``Accept-Language`` header. What goes out: `Texts`. Every language has every key; a key
that is missing is an error, never a blank or an English word on a Chinese page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType

from fastapi import Request

COOKIE = "penstock_language"
LANGUAGES: Mapping[str, str] = MappingProxyType({"en": "English", "zh": "中文"})
"""Code -> what its readers call it."""


def _read(language: str) -> Mapping[str, str]:
    place = files("penstock.console") / "texts" / f"{language}.json"
    return MappingProxyType(json.loads(place.read_text("utf-8")))


TABLES: Mapping[str, Mapping[str, str]] = MappingProxyType({language: _read(language) for language in LANGUAGES})


@dataclass(frozen=True)
class Texts:
    """The words of one language."""

    language: str

    def __call__(self, key: str, values: Mapping[str, object] | None = None) -> str:
        """The text of a key, its ``{name}`` places filled.

        Raises:
            KeyError: There is no such key, or a place has no value.
        """
        return TABLES[self.language][key].format_map(values or {})

    def named(self, group: str, name: str) -> str:
        """The text of ``group.name``; the name itself where a newer part of Penstock brought one we do not know."""
        return TABLES[self.language].get(f"{group}.{name}", name)


def texts_of(request: Request) -> Texts:
    """The language a visitor chose, or their browser prefers, or English."""
    chosen = request.cookies.get(COOKIE, "")
    if chosen in LANGUAGES:
        return Texts(chosen)
    wanted = request.headers.get("accept-language", "")[:200].lower()
    ranked = sorted(_ranked(wanted), reverse=True)
    return Texts(next((language for _, language in ranked if language in LANGUAGES), "en"))


def _ranked(wanted: str) -> list[tuple[float, str]]:
    """``zh-CN,en;q=0.7`` -> (1.0, zh), (0.7, en)."""
    found = []
    for part in wanted.split(","):
        name, _, quality = part.strip().partition(";q=")
        weight = quality.strip() or "1"
        found.append((float(weight) if weight.replace(".", "", 1).isdecimal() else 0.0, name.partition("-")[0]))
    return found
