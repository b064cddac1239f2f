"""Stage 4, serve: what a caller may have changed: models in memory, endpoints, regions of shared memory, keys.

A dialect reads an act from a call; `penstock.serve.keeper.Keeper` does it, whoever may.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class LoadAct(msgspec.Struct, frozen=True):
    """Have an endpoint answer again."""

    endpoint: str


class Unload(msgspec.Struct, frozen=True):
    """Take an endpoint's models out of memory until it is loaded again, or until its next release."""

    endpoint: str


class Enlist(msgspec.Struct, frozen=True):
    """Have a package answer as a new endpoint; only on a data plane that nobody releases to.

    Attributes:
        endpoint: Its name; empty takes the model's own.
        source: The package's folder, or an archive, as the caller writes it: absolute, a ``file:`` address, or below
            the first folder of ``--models``.
        rows: In one run; 0 leaves it to the model.
    """

    endpoint: str
    source: str
    rows: int = 0


class Dismiss(msgspec.Struct, frozen=True):
    """Take an endpoint away for good; only on a data plane that nobody releases to."""

    endpoint: str


class Register(msgspec.Struct, frozen=True):
    """Name a part of a POSIX shared memory object.

    Attributes:
        key: The object's name.
        offset: In the object, in bytes.
        size: In bytes.
    """

    name: str
    key: str
    offset: int
    size: int


class Unregister(msgspec.Struct, frozen=True):
    """Forget a region; an empty name means all of the caller's."""

    name: str


class RenewKey(msgspec.Struct, frozen=True):
    """Have another key of a kind in the file of TorchServe's keys."""

    kind: Literal["management", "inference"]


Act = LoadAct | Unload | Enlist | Dismiss | Register | Unregister | RenewKey
"""Any of them."""
