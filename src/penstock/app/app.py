"""Who acts, where, under which settings: what every use case is handed first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from penstock.access.identities import Identity
from penstock.access.keys import PublicKey
from penstock.config import Config
from penstock.packages.read import Package, open_package
from penstock.registry.registry import Registry
from penstock.registry.state import State, VersionState


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

    def open_package(self, digest: str) -> Package:
        """A package of this home, verified from the bytes on disk."""
        return open_package(self.registry.blobs.path(digest), digest=digest, keys=self.registry.package_keys())

    def public_key(self) -> PublicKey:
        """The key that checks this home's chain."""
        return self.registry.public_key
