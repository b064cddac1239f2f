"""What is true now, as the events say: models, versions, aliases, datasets, endpoints, identities, tokens.

    events -> penstock.registry.fold -> State -> resolve("flights@champion") -> VersionState

A state is never changed, so whoever holds one may read it without a lock; a later one shares what stayed.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeVar

from penstock.errors import NotFound
from penstock.records import (
    Approval,
    Bypass,
    Dataset,
    IdentityRecord,
    Incident,
    KeyRecord,
    KeyRevoked,
    PolicySet,
    Proposal,
    Record,
    Release,
    Settled,
    Step,
    TokenRecord,
    Variant,
    Verdict,
    Version,
)
from penstock.registry.events import FIRST_PREVIOUS

Found = TypeVar("Found")


class VersionState(Record, frozen=True, kw_only=True):
    """One version, with what was said of it: the latest verdict, and break-glass by endpoint."""

    version: Version
    verdict: Verdict | None = None
    approvals: tuple[Approval, ...] = ()
    bypasses: dict[str, Bypass] = {}


class ModelState(Record, frozen=True, kw_only=True):
    """A model's versions, version n at index n - 1, and its aliases."""

    versions: tuple[VersionState, ...] = ()
    aliases: dict[str, int] = {}


class EndpointState(Record, frozen=True, kw_only=True):
    """Everything that was wished of an endpoint, and what came of it; revision n is ``releases[n - 1]``."""

    releases: tuple[Release, ...] = ()
    steps: tuple[Step, ...] = ()
    settled: dict[int, Settled] = {}
    live: tuple[Variant, ...] = ()
    incidents: dict[str, Incident] = {}
    proposals: tuple[Proposal, ...] = ()

    @property
    def current(self) -> Release | None:
        """The latest wish."""
        return self.releases[-1] if self.releases else None

    @property
    def stable(self) -> Release | None:
        """The latest release that went live and was not taken back."""
        alive = [r for r in self.releases if r.revision in self.settled and self.settled[r.revision].outcome == "live"]
        return alive[-1] if alive else None

    def steps_of(self, revision: int) -> tuple[Step, ...]:
        """The steps of one release, oldest first."""
        return tuple(step for step in self.steps if step.revision == revision)

    def open_incidents(self) -> dict[str, Incident]:
        """Cause -> incident, those that are not closed."""
        return {cause: incident for cause, incident in self.incidents.items() if not incident.closed_at}


class State(Record, frozen=True, kw_only=True):
    """The whole of it after event `seq`, whose hash is `head`.

    Attributes:
        keys: Purpose -> keys that are trusted; the home's own signs last, the ones before it vouch for what they did.
        revoked: Hint -> a key that is never trusted again, and why.
    """

    seq: int = 0
    head: str = FIRST_PREVIOUS
    models: dict[str, ModelState] = {}
    datasets: dict[str, tuple[Dataset, ...]] = {}
    endpoints: dict[str, EndpointState] = {}
    identities: dict[str, IdentityRecord] = {}
    tokens: dict[str, TokenRecord] = {}
    policies: dict[str, PolicySet] = {}
    keys: dict[str, tuple[KeyRecord, ...]] = {}
    revoked: dict[str, KeyRevoked] = {}
    generations: dict[str, int] = {}

    def generation(self, subject: str) -> int:
        """How many events the subject has; 0 for one never written to."""
        return self.generations.get(subject, 0)

    def signer(self, name: str) -> str:
        """Hint of the home's own key that signs now; empty before there is one."""
        own = [one.hint for one in self.keys.get(name, ()) if one.own]
        return own[-1] if own else ""

    def endpoint(self, name: str) -> EndpointState:
        """An endpoint.

        Raises:
            NotFound: There is none of that name.
        """
        return _look_up(self.endpoints, name, "endpoint")

    def model(self, name: str) -> ModelState:
        """A model.

        Raises:
            NotFound: There is none of that name.
        """
        return _look_up(self.models, name, "model")

    def version(self, model: str, number: int) -> VersionState:
        """One version of a model.

        Raises:
            NotFound: The model or the version does not exist.
        """
        versions = self.model(model).versions
        if not 1 <= number <= len(versions):
            raise NotFound("the model has no such version", f"its versions are 1 to {len(versions)}")
        return versions[number - 1]

    def resolve(self, ref: str) -> VersionState:
        """The version a person means by ``name@3``, ``name@champion`` or ``name`` (its newest).

        Raises:
            NotFound: There is no such model, version or alias; the hint has the nearest one.
        """
        name, _, which = ref.partition("@")
        model = self.model(name)
        if not which:
            return model.versions[-1]
        if which.isascii() and which.isdigit():
            return self.version(name, int(which[:9]))
        return self.version(name, _look_up(model.aliases, which, "alias"))


def _look_up(known: Mapping[str, Found], name: str, noun: str) -> Found:
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known)[:10]) or 'none yet'}"
    raise NotFound(f"there is no {noun} of that name", hint)
