"""A model card to read: as Markdown, or as one HTML file that needs nothing else.

Comes in: a `ModelCard`. Goes out: text. Names and messages in it may be anybody's: none of them becomes markup.
"""

from __future__ import annotations

import re
import unicodedata

from markupsafe import Markup

from penstock.app.cardfacts import NOT_SHOWN, CardTable, moment
from penstock.app.modelcard import ModelCard
from penstock.pages.page import page_environment

_SAYS = {
    "pass": "may go out",
    "refuse": "may not go out",
    "unknown": "has not shown that it may go out",
    "": "has not been checked",
}
_HASH = re.compile(r"^(event \d+ [0-9a-f]{12})[0-9a-f]{52}$")
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~&!$])")
_ADDRESS = re.compile(r"(?i)(:/|www\.|@)")
_BLOCK = re.compile(r"^(\s*)(?:(?=[-+](?:[-+\s]|$)|[=>])|(\d+)(?=[.)](?:\s|$)))")


def html_card(card: ModelCard) -> str:
    """The card as a page. Equal cards give equal pages."""
    pages = page_environment("penstock.app", finalize=_seen)
    pages.filters["short"] = _short
    return pages.get_template("card.html").render(
        card=card, says=_SAYS[card.verdict], at=moment(card.at), not_shown=NOT_SHOWN
    )


def markdown_card(card: ModelCard) -> str:
    """The card as Markdown (CommonMark with GitHub's tables)."""
    lines = [f"# {_plain(card.ref)} {_SAYS[card.verdict]}", "", f"`{card.digest}`", ""]
    for section in card.sections:
        lines += [f"## {section.title}", ""]
        for fact in section.facts:
            value = _plain(fact.value) if fact.shown else f"*{NOT_SHOWN}*"
            lines.append(f"- **{_plain(fact.name)}**: {value}{_source(fact.evidence)}")
        lines += [""] if section.facts else []
        for table in section.tables:
            lines += [*_rows(table), ""]
    lines += [
        "---",
        "",
        f"As event {card.seq} left the registry, `{card.head}`. *{NOT_SHOWN}* means that no record shows it.",
    ]
    return "\n".join(lines) + "\n"


def _rows(table: CardTable) -> list[str]:
    head = f"**{_plain(table.title)}**{_source(table.evidence)}"
    lines = [table.columns, ("---",) * len(table.columns), *table.rows]
    ruled = [lines[1] if index == 1 else tuple(_plain(_short(cell)) for cell in row) for index, row in enumerate(lines)]
    return [head, "", *(f"| {' | '.join(row)} |" for row in ruled)]


def _source(evidence: str) -> str:
    return f" ({_plain(_short(evidence))})" if evidence else ""


def _short(text: str) -> str:
    """An event by number and the first letters of its hash; the card's JSON has all of it."""
    return _HASH.sub(r"\1", text)


def _plain(text: str) -> str:
    """Anybody's text on one line, without anything that Markdown, HTML or a terminal would act on."""
    escaped = _MARKUP.sub(r"\\\1", " ".join(str(_seen(text)).split()))
    # What would become a link by itself, or a list or a rule where a line begins.
    apart = _ADDRESS.sub(lambda found: "\\".join((found[1][:-1], found[1][-1])), escaped)
    return _BLOCK.sub(lambda found: f"{found[1]}{found[2] or ''}\\", apart)


def _seen(value: object) -> object:
    """A text without letters that nobody sees; line ends stay."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "".join(" " if unicodedata.category(one) in _UNSEEN and one != "\n" else one for one in value)


_UNSEEN = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
"""Controls, marks that turn the direction of writing, and line ends."""
