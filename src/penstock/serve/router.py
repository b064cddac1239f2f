"""Stage 4, serve: which variant answers a request.

The routing key decides, so that one key always gets the same variant: its hash is a number in [0, 1), and the
answering variants lie on that line in the route's order, each as long as its share. The canary lies first, so
raising its share only adds keys to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b

from penstock.errors import NotFound
from penstock.records import Variant
from penstock.serve.cards import LABEL
from penstock.serve.meters import CounterSeries
from penstock.serve.models import Model


class Arm:
    """A variant with the model behind it and its place on the line.

    Attributes:
        until: Where its part of [0, 1) ends.
        series: Counters by error code.
    """

    __slots__ = ("headers", "model", "series", "until", "variant", "version")

    def __init__(self, variant: Variant, model: Model, until: float) -> None:
        self.variant = variant
        self.model = model
        self.until = until
        self.version = str(variant.version)
        self.series: dict[str, CounterSeries] = {}
        self.headers = b"x-model-version: %d\r\nx-variant: %s\r\n" % (variant.version, variant.name.encode())


def lay_out(variants: Sequence[Variant], models: Mapping[str, Model]) -> tuple[Arm, ...]:
    """Answering variants along [0, 1), in order; the last one's part ends at 1 whatever rounding says."""
    arms: list[Arm] = []
    until = 0.0
    for variant in variants:
        until += variant.share
        arms.append(Arm(variant, models[variant.digest], until))
    for arm in reversed(arms):
        if arm.variant.share > 0:
            arm.until = 1.0
            break
    return tuple(arms)


def position(salt: str, key: str) -> float:
    """Where a key lies in [0, 1): the first 8 bytes of BLAKE2b over salt, NUL, key."""
    return int.from_bytes(blake2b(f"{salt}\0{key}".encode("utf-8", "surrogatepass")).digest()[:8], "big") / 2**64


def choose(arms: tuple[Arm, ...], salt: str, key: str) -> Arm:
    """The variant of a key."""
    if len(arms) == 1:
        return arms[0]
    place = position(salt, key)
    for arm in arms:
        if place < arm.until:
            return arm
    return arms[-1]


def pinned(arms: tuple[Arm, ...], version: str) -> Arm:
    """The variant of a version that the caller named, by its number or as ``@`` and the variant's name.

    Raises:
        NotFound: None of the answering variants is that version.
    """
    for arm in arms:
        if version in (arm.version, LABEL + arm.variant.name):
            return arm
    raise NotFound("the endpoint has no such version", "leave the version out", code="serve.no_version")
