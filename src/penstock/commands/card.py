"""`penstock card`: what records show of a version, for people who answer for it; and its bill of materials."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from penstock.app.cardpages import html_card, markdown_card
from penstock.app.modelcard import ModelCard, bill_bytes, card_of
from penstock.app.opening import open_app
from penstock.commands.screen import DEFAULT_HOME, As, Home, Json, answering, out, show
from penstock.errors import BadConfig
from penstock.records import encode

WRITERS = {
    ".md": lambda card: markdown_card(card).encode(),
    ".html": lambda card: html_card(card).encode(),
    ".json": encode,
}


def run(
    ref: Annotated[str, typer.Argument(help="NAME, NAME@3 or NAME@champion.")],
    output: Annotated[
        Path | None, typer.Option(help="A file to write (.md, .html, .json); else Markdown here.")
    ] = None,
    sbom: Annotated[
        Path | None, typer.Option(help="Also write the bill of materials that is signed with the package (CycloneDX).")
    ] = None,
    home: Home = DEFAULT_HOME,
    token: As = "",
    json: Json = False,
) -> None:
    """Intended use, data, metrics, limits, owners, risk, environment, lineage and releases, each with its record.

    Example: penstock card churn@1 --output churn.html --sbom churn.cdx.json
    """
    with answering(json=json):
        if output is not None and output.suffix not in WRITERS:
            raise BadConfig("a card is Markdown, HTML or JSON", f"name a file {', '.join(WRITERS)}", where=output.name)
        app = open_app(home, token=token)
        card = card_of(app, ref)
        if sbom is not None:
            sbom.write_bytes(bill_bytes(app, ref))
        if output is not None:
            output.write_bytes(WRITERS[output.suffix](card))
        show(card, json=json, text=lambda: _tell(card, output, sbom))


def _tell(card: ModelCard, output: Path | None, sbom: Path | None) -> None:
    """The card itself, or where it was written."""
    if output is None and sbom is None:
        sys.stdout.write(markdown_card(card))
    for file in (output, sbom):
        if file is not None:
            out.print(f"wrote {file}", markup=False)
