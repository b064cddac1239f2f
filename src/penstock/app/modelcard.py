"""A version's model card: what records show of it, each fact with the record that shows it.

    registry + manifest + verdict -> sections of facts and tables -> Markdown, HTML (`penstock.app.cardpages`), JSON

What comes in: a version's name. What goes out: a `ModelCard`. Nothing is written by hand here: what a person declared
is signed in the package, what was measured stands in the gate's verdict, and what no record shows says "not shown".
"""

from __future__ import annotations

import msgspec

from penstock.access.identities import require
from penstock.access.permissions import READ
from penstock.app import cardsections as sections
from penstock.app.app import App
from penstock.app.cardfacts import Behind, CardSection
from penstock.build.bom import NAME as BILL
from penstock.errors import NotFound
from penstock.packages.digests import hex_of
from penstock.packages.tree import read_bytes
from penstock.records import Record

_MAX_BILL_BYTES = 64 << 20


class ModelCard(Record, frozen=True, kw_only=True):
    """The card.

    Attributes:
        digest: Of the package that all of it is about.
        verdict: The gate's; empty before it was asked.
        seq: The last event that the card knows of.
        head: That event's hash.
        at: When that event happened, seconds since the epoch: a card says nothing of what came later.
    """

    model: str
    version: int
    digest: str
    verdict: str
    seq: int
    head: str
    at: float
    sections: tuple[CardSection, ...]

    @property
    def ref(self) -> str:
        """``name@3``."""
        return f"{self.model}@{self.version}"


class _AboutVersion(msgspec.Struct):
    """The part of a body that says which version it is about."""

    version: int = 0


def card_of(app: App, ref: str) -> ModelCard:
    """The card of a version, as the registry knows it now. Equal registries give equal cards.

    Args:
        app: Who asks, where.
        ref: ``name@3``, ``name@champion`` or ``name``.

    Raises:
        NotFound: There is no such version.
        Untrusted: Its package is not what was registered.
    """
    require(app.identity, READ)
    state = app.state()
    known = state.resolve(ref)
    version = known.version
    behind = Behind(
        state=state,
        known=known,
        package=app.open_package(version.digest),
        events=tuple(
            event
            for event in app.registry.events(subject=f"model/{version.model}")
            if msgspec.json.decode(event.body, type=_AboutVersion).version == version.version
        ),
        wishes=tuple(
            event
            for kind in ("release.requested", "rollback.requested")
            for event in app.registry.events(kind=kind)
            if version.digest in event.body
        ),
    )
    last = app.registry.events(state.seq - 1, limit=1)
    return ModelCard(
        model=version.model,
        version=version.version,
        digest=version.digest,
        verdict=known.verdict.outcome if known.verdict else "",
        seq=state.seq,
        head=state.head,
        at=last[0].time if last else 0.0,
        sections=tuple(section(behind) for section in sections.EVERY),
    )


def bill_bytes(app: App, ref: str) -> bytes:
    """The bill of materials that is signed with a version's package (CycloneDX, JSON).

    Raises:
        NotFound: There is no such version, or its package is of before packages had one.
    """
    require(app.identity, READ)
    package = app.open_package(app.resolve(ref).version.digest)
    if BILL not in package.manifest.files:
        raise NotFound(
            "this package has no bill of materials: it was made before packages had one",
            "package the model again",
            code="packages.no_file",
            where=hex_of(package.digest)[:12],
        )
    return read_bytes(package.folder, BILL, limit=_MAX_BILL_BYTES)
