"""Traffic as the inference log holds it, made up: keys, assignment by the router's own rule, scores."""

from collections.abc import Callable, Iterator

import numpy as np

from penstock.records import Exchange, Guards, Release, Variant
from penstock.release.guards import unit_of
from penstock.release.routes import salt_of

Scores = Callable[[np.random.Generator], float]

OLD = Variant(name="stable", model="m", version=1, digest="sha256:" + "1" * 64)
NEW = Variant(name="stable", model="m", version=2, digest="sha256:" + "2" * 64)


def usual(rng: np.random.Generator) -> float:
    return float(rng.beta(2.0, 4.67))


def upside_down(rng: np.random.Generator) -> float:
    return 1.0 - usual(rng)


def constant(rng: np.random.Generator) -> float:
    return 0.3


def retrained(rng: np.random.Generator) -> float:
    """A good model after a season: its mean score is 0.2 where it was 0.3."""
    return float(rng.beta(1.6, 6.4))


def release(**changes: object) -> Release:
    guards = Guards(**{k: changes.pop(k) for k in list(changes) if k in Guards.__struct_fields__})
    return Release(
        **{
            "endpoint": "e",
            "revision": 2,
            "variants": (NEW,),
            "strategy": "canary",
            "previous": 1,
            "guards": guards,
            **changes,
        }
    )


def exchanges(
    count: int,
    *,
    seed: int = 0,
    share: float = 0.1,
    keys: int = 2000,
    stable: Scores = usual,
    candidate: Scores = usual,
    errors: tuple[float, float] = (0.0, 0.0),
    start: int = 0,
    slow: tuple[float, float] = (0.0, 0.0),
) -> Iterator[Exchange]:
    """Requests of one row each; `errors` and `slow` are rates on the stable arm and on the candidate."""
    rng = np.random.default_rng(seed)
    salt = salt_of("e", 2)
    for number in range(start, start + count):
        key = f"k{rng.integers(keys)}"
        canary = unit_of(salt, key) / 2**64 < share
        failed = rng.random() < errors[canary]
        latency = 0.2 if rng.random() < slow[canary] else 0.001
        p = (candidate if canary else stable)(rng)
        yield Exchange(
            id=f"r{number}",
            endpoint="e",
            release=2,
            model="m",
            version=1 + canary,
            variant="canary" if canary else "stable",
            share=share if canary else 1 - share,
            key=key,
            event_time=float(number),
            received_at=float(number),
            latency_s=latency,
            code="runtime.model_failed" if failed else "ok",
            rows=1,
            inputs={},
            outputs={} if failed else {"label": [int(p > 0.5)], "probabilities": [[1 - p, p]]},
        )
