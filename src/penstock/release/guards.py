"""Stage 4, release: what the exchanges of a rollout say for and against its candidate.

    exchange -> of this release? chosen by its routing key? -> which tests does it fail? -> RatioTest of each
                                                                                       -> Measurement of each

    error     it was not answered ``ok``
    latency   it took longer than the guards' `latency_s` (0: than 90 %, or than 99 %, of the stable version's first
              answers: the one sees all of them slow down, the other a tail)
    invalid   a number that is none, a probability that is none
    shift     its score fell into one of 20 parts of the stable version's range: a retrained model moves its scores a
              little from part to part, a broken one (constant, upside down, wrong units) piles them up somewhere
    outcome_loss  it was wrong, as an outcome said later

Rolled back on evidence of more than `margin` (for the scores: `shift`) times the stable version's failures; promoted
once the evidence speaks against twice that. Every test asks only on which arm a failure fell, so what befalls both
arms is not the candidate's. A caller who named the version was not assigned by chance and is left out. A watch is
rebuilt from the log by reading it again.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from penstock.records import Exchange, Measurement, Outcome, Release
from penstock.release.answers import Score, ScoreReference, error_of, is_valid, score_of
from penstock.release.routes import salt_of
from penstock.release.strategy import CANARY, SHADOW, STABLE
from penstock.statistics.rollouts import RatioTest

TESTS = ("error", "latency", "invalid", "shift", "outcome_loss")
REFERENCE = 200
"""Stable answers that the reference is made of; the tests that need it begin after them."""
LATENCIES = 500
SLOW = (0.9, 0.99)
UNITS = 250_000
"""Routing keys remembered at one share; beyond it, decisions have long been possible."""
_WHOLE = 2.0**64
_CLOSE = 1e-9

Failure = tuple[str, int]
"""A test and, where it is made of several, which: the part of the range, the limit of latency."""


class Watch:
    """The evidence on one rollout.

    Args:
        release: The rollout's.
        reference: Scores of the stable version from before it; without, its first ones now.
    """

    def __init__(self, release: Release, reference: Iterable[Score] = ()) -> None:
        self.release = release
        self.event_time = 0.0
        self._salt = salt_of(release.endpoint, release.revision)
        self._tests = {(name, 0): self._new(name) for name in TESTS}
        self._scores: list[Score | None] = list(reference)
        self._latencies: list[float] = []
        self._errors: list[float] = []
        self._reference = ScoreReference(self._scores) if len(self._scores) >= REFERENCE else None
        self._slow_s: tuple[float, ...] = (release.guards.latency_s,) if release.guards.latency_s else ()
        self._seen: set[int] = set()
        self._units: dict[str, int] = {}
        self._requests: dict[str, int] = {}
        self._clock = 0
        self._share = 0.0
        self._began = 0.0
        self._pairs: dict[str, tuple[bool, set[Failure]]] = {}

    def see(self, exchanges: Iterable[Exchange]) -> None:
        """Take exchanges in, in any order; those of other releases and endpoints are passed over."""
        for exchange in exchanges:
            if exchange.endpoint == self.release.endpoint and exchange.release == self.release.revision:
                self.event_time = max(self.event_time, exchange.event_time)
                if self.release.strategy == SHADOW:
                    self._pair(exchange)
                else:
                    self._compare(exchange)

    def learn(self, joined: Iterable[tuple[Exchange, Outcome]]) -> None:
        """Take in which predictions were wrong, as outcomes come."""
        for exchange, outcome in joined:
            error, placed = error_of(exchange, outcome), self._placed(exchange)
            if error is None or placed is None:
                continue
            usual = 0.0 if "label" in exchange.outputs else self._usual(exchange, error)
            if usual is not None and error > usual:
                unit, share = placed
                self._fail({("outcome_loss", 0)}, unit, share, candidate=exchange.variant == CANARY, first=False)

    def measurements(self) -> tuple[Measurement, ...]:
        """One a test; none before the first exchange."""
        return tuple(self._measured(name) for name in TESTS) if self._clock else ()

    # -- one exchange

    def _compare(self, exchange: Exchange) -> None:
        """An exchange of one of two arms."""
        placed = self._placed(exchange)
        if placed is None:
            return
        unit, share = placed
        self._clock += 1
        self._requests[exchange.variant] = self._requests.get(exchange.variant, 0) + 1
        if share > self._share + _CLOSE:
            self._enter(share, exchange.event_time)
        first = share > self._share - _CLOSE and self._is_first(unit, exchange.variant)
        failures = self._failures(exchange)
        self._fail(failures, unit, share, candidate=exchange.variant == CANARY, first=first)
        self._remember(exchange)

    def _pair(self, exchange: Exchange) -> None:
        """An exchange or its copy; when both are there, what only one of them failed counts, each with chance 1/2."""
        candidate = exchange.shadow
        self._requests[exchange.variant] = self._requests.get(exchange.variant, 0) + 1
        failures = self._failures(exchange)
        if not candidate:
            self._remember(exchange)
        known = self._pairs.pop(exchange.id, None)
        if known is None or known[0] == candidate:
            self._pairs[exchange.id] = (candidate, failures)
            if len(self._pairs) > UNITS:
                del self._pairs[next(iter(self._pairs))]
            return
        self._clock += 1
        self._began = self._began or exchange.event_time
        unit = unit_of(self._salt, exchange.key)
        first = self._is_first(unit, SHADOW)
        mine, other = (failures, known[1]) if candidate else (known[1], failures)
        self._fail(mine - other, unit, 0.5, candidate=True, first=first)
        self._fail(other - mine, unit, 0.5, candidate=False, first=first)

    def _placed(self, exchange: Exchange) -> tuple[int, float] | None:
        """The unit and the candidate's share, where chance decided between the two arms."""
        if exchange.shadow or exchange.variant not in (CANARY, STABLE):
            return None
        share = exchange.share if exchange.variant == CANARY else 1.0 - exchange.share
        share = round(share, 9)
        if not 0.0 < share < 1.0:
            return None
        unit = unit_of(self._salt, exchange.key)
        place = unit / _WHOLE
        chosen = (place < share) == (exchange.variant == CANARY) or abs(place - share) < 2 * _CLOSE
        return (unit, share) if chosen else None

    def _failures(self, exchange: Exchange) -> set[Failure]:
        failures = {("latency", number) for number, slow in enumerate(self._slow_s) if exchange.latency_s > slow}
        if exchange.code != "ok":
            return failures | {("error", 0)}
        if not is_valid(exchange):
            failures.add(("invalid", 0))
        score = score_of(exchange) if self._reference is not None else None
        if score is not None and self._reference is not None:
            failures.add(("shift", self._reference.bin(score)))
        return failures

    def _fail(self, failures: set[Failure], unit: int, share: float, *, candidate: bool, first: bool) -> None:
        for failure in failures:
            if failure not in self._tests:
                self._tests[failure] = self._new(failure[0])
            self._tests[failure].fail(unit, candidate=candidate, share=share, clock=self._clock, first=first)

    # -- what is remembered

    def _enter(self, share: float, event_time: float) -> None:
        """A larger share: what speaks for the candidate is shown anew on it."""
        self._share = share
        self._began = event_time
        self._renew()

    def _renew(self) -> None:
        self._seen.clear()
        self._units.clear()
        for test in self._tests.values():
            test.restart_support()

    def _is_first(self, unit: int, variant: str) -> bool:
        if unit in self._seen or len(self._seen) >= UNITS:
            return False
        self._seen.add(unit)
        self._units[variant] = self._units.get(variant, 0) + 1
        return True

    def _remember(self, exchange: Exchange) -> None:
        """Until there is a reference: the stable version's answers."""
        if exchange.variant == CANARY or exchange.code != "ok":
            return
        if not self._slow_s:
            self._latencies.append(exchange.latency_s)
            if len(self._latencies) >= LATENCIES:
                self._slow_s = tuple(_quantile(self._latencies, part) for part in SLOW)
                self._renew()
        if self._reference is None:
            self._scores.append(score_of(exchange))
            if len(self._scores) >= REFERENCE:
                self._reference = ScoreReference(self._scores)
                # Before this nothing could fail by its score, so nobody had passed by it either.
                self._renew()

    def _usual(self, exchange: Exchange, error: float) -> float | None:
        """How wrong the stable version's numbers usually are; None until that is known."""
        if len(self._errors) >= REFERENCE:
            return _quantile(self._errors, 0.9)
        if exchange.variant == STABLE:
            self._errors.append(error)
        return None

    # -- what is told

    def _new(self, name: str) -> RatioTest:
        guards = self.release.guards
        margin = guards.shift if name == "shift" else guards.margin
        return RatioTest(margin, beyond=2.0 * margin, floor=guards.floor)

    def _measured(self, name: str) -> Measurement:
        tests = [test for (known, _), test in self._tests.items() if known == name]
        worst = max(tests, key=lambda test: test.against)
        parts = {"shift": self._reference.bins if self._reference else 1, "latency": max(len(self._slow_s), 1)}
        candidate = SHADOW if self.release.strategy == SHADOW else CANARY
        units = self._units.get(candidate, 0)
        begun = {"shift": self._reference is not None, "latency": bool(self._slow_s), "outcome_loss": False}
        return Measurement(
            endpoint=self.release.endpoint,
            release=self.release.revision,
            test=name,
            against=worst.against / parts.get(name, 1),
            supporting=min(test.supporting(units) for test in tests) if begun.get(name, True) else 0.0,
            threshold=len(TESTS) / self.release.guards.alpha,
            units=dict(self._units),
            failures={STABLE: worst.failures[0], candidate: worst.failures[1]},
            requests=dict(self._requests),
            event_time=self.event_time,
            share=self._share,
            began=self._began,
        )


def unit_of(salt: str, key: str) -> int:
    """A routing key as 64 bits: where it lies on the line that the variants' shares are laid out on.

    The data plane's router chooses by the same number, so a watch can tell who was assigned by it.
    """
    return int.from_bytes(blake2b(f"{salt}\0{key}".encode("utf-8", "surrogatepass")).digest()[:8], "big")


def _quantile(values: list[float], part: float) -> float:
    return sorted(values)[int(part * len(values))]
