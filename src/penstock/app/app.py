"""Who acts, where, under which settings: what every use case is handed first."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from penstock.access.identities import Identity
from penstock.config import Config
from penstock.log.outcomes import OutcomeLog
from penstock.packages.keys import PrivateKey, load_or_create_package_key
from penstock.packages.read import Package, open_package
from penstock.registry.registry import Registry
from penstock.registry.state import State, VersionState
from penstock.registry.trust import package_keys


@dataclass(frozen=True)
class App:
    """An identity at work on one home folder."""

    home: Path
    config: Config
    registry: Registry
    identity: Identity

    def state(self) -> State:
        """The registry's state, other processes' events included."""
        return self.registry.state()

    def resolve(self, ref: str) -> VersionState:
        """``name@3``, ``name@champion`` or ``name`` (its newest version)."""
        return self.state().resolve(ref)

    @property
    def package_key(self) -> PrivateKey:
        """What signs this home's packages now: read each time, since it may have been rotated."""
        return load_or_create_package_key(self.home / "keys")

    @cached_property
    def outcome_log(self) -> OutcomeLog:
        """Where this process writes outcomes."""
        return OutcomeLog(self.home / "log" / "outcomes")

    def open_package(self, digest: str) -> Package:
        """A package of this home, verified from the bytes on disk, signed by one whom its chain trusts."""
        return open_package(self.registry.packages.path(digest), digest=digest, keys=package_keys(self.state()))
