"""Stage 4, release: the loop that makes what runs equal to what was wished, one step a turn.

    observe (target) -> read (registry) -> plan -> apply (target) -> append (registry)

Every turn starts from what it finds, and every verb may be repeated, so it may be killed anywhere, started again
anywhere, and run twice: killed between apply and append, the next turn comes to the same step; two at once, the
target and the registry each let one of them through by compare-and-set, and the other reads again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, cast

from penstock.adapters import load
from penstock.errors import Conflict, PenstockError
from penstock.records import Grant, Measurement, Record, Release, Settled, Step
from penstock.registry.state import EndpointState, State
from penstock.release.plan import TERMINAL, Situation, Wait, next_step
from penstock.release.routes import last_step, routes
from penstock.release.strategy import Stage, Strategy
from penstock.release.target import Target, TargetStatus, Wish


class Append(Protocol):
    """Writes one event: durable when it returns, Conflict when the subject's generation is not `expect`."""

    def __call__(self, kind: str, subject: str, record: Record, expect: int | None) -> object:
        """Append."""
        ...


class Evidence(NamedTuple):
    """What was measured of a rollout, and up to what event time the exchanges have been read."""

    measurements: tuple[Measurement, ...] = ()
    event_time: float = 0.0


class Turn(NamedTuple):
    """What one turn did for an endpoint.

    Attributes:
        step: The step that was taken and recorded, if one was.
        settled: How the release ended, if it was recorded in this turn.
        waiting: What it waits for; empty after a step.
        error: Why the turn came to nothing, in words for the log; the next one tries again.
    """

    endpoint: str
    revision: int = 0
    step: Step | None = None
    settled: Settled | None = None
    waiting: str = ""
    error: str = ""


class Reconciler:
    """Works on all endpoints of one registry and one target.

    Args:
        target: What runs them.
        state: Reads the registry.
        append: Writes to it.
        place: Digest to package folder.
        grants: The tokens that the data plane may know.
        evidence: What was measured of a release under way.
    """

    def __init__(
        self,
        target: Target,
        *,
        state: Callable[[], State],
        append: Append,
        place: Callable[[str], Path],
        grants: Callable[[State], tuple[Grant, ...]],
        evidence: Callable[[Release], Evidence],
    ) -> None:
        self._target = target
        self._state = state
        self._append = append
        self._place = place
        self._grants = grants
        self._evidence = evidence

    def turn(self) -> list[Turn]:
        """One step at most for each endpoint, then the target is told what is recorded.

        Raises:
            TargetFailed: The target cannot be looked at or told.
            PenstockError: The registry cannot be read.
        """
        status = self._target.observe()
        state = self._close_superseded(self._state())
        turns = []
        for name, endpoint in sorted(state.endpoints.items()):
            if endpoint.current is None:
                continue
            try:
                turns.append(self._advance(name, endpoint, state, status))
            except Conflict as error:
                turns.append(Turn(name, endpoint.current.revision, waiting=error.message))
            except PenstockError as error:
                turns.append(Turn(name, endpoint.current.revision, error=str(error)))
            if turns[-1].step is not None:
                status, state = self._target.observe(), self._state()
        self._level(status, state)
        return turns

    def _advance(self, name: str, endpoint: EndpointState, state: State, status: TargetStatus) -> Turn:
        """One endpoint's step."""
        release = cast("Release", endpoint.current)
        if release.revision in endpoint.settled:
            return Turn(name, release.revision)
        steps = endpoint.steps_of(release.revision)
        if steps and steps[-1].phase in TERMINAL:
            return self._settle(steps[-1], state, status)
        found = self._evidence(release)
        situation = Situation(
            stable=endpoint.stable.variants if endpoint.stable else (),
            status=status,
            steps=steps,
            measurements=found.measurements,
            event_time=found.event_time,
        )
        planned = next_step(release, situation, _stages(release, situation))
        if isinstance(planned, Wait):
            return Turn(name, release.revision, waiting=planned.reason)
        self._target.apply(self._wish(state, {name: planned}), expect=status.number)
        self._append("release.stepped", _subject(name), planned, state.generation(_subject(name)))
        return Turn(name, release.revision, step=planned)

    def _settle(self, step: Step, state: State, status: TargetStatus) -> Turn:
        """Record how a release ended, once every worker answers so."""
        wish = self._wish(state)
        # With nothing left to answer, nobody has to confirm it.
        if status.wish != wish or not (status.settled or not wish.routes):
            return Turn(step.endpoint, step.revision, waiting="waiting for every worker to answer by it")
        settled = Settled(
            endpoint=step.endpoint,
            revision=step.revision,
            outcome=cast("Literal['live', 'rolled_back', 'failed']", step.phase),
            reason=step.reason,
            at=step.at,
        )
        subject = _subject(step.endpoint)
        self._append("release.settled", subject, settled, state.generation(subject))
        return Turn(step.endpoint, step.revision, settled=settled)

    def _close_superseded(self, state: State) -> State:
        """Record the end of releases that a newer wish overtook; one that was live already stays so."""
        overtaken = [
            (endpoint, release)
            for endpoint in state.endpoints.values()
            for release in endpoint.releases[:-1]
            if release.revision not in endpoint.settled
        ]
        for endpoint, release in overtaken:
            settled = _overtaken(endpoint, release)
            # Another reconciler may have recorded the same: then it is there, which is all we want.
            with suppress(Conflict):
                self._append("release.settled", _subject(release.endpoint), settled, None)
        return self._state() if overtaken else state

    def _level(self, status: TargetStatus, state: State) -> None:
        """Tell the target what is recorded, where it was told otherwise, and have it run."""
        wish = self._wish(state)
        if status.wish != wish or (wish.routes and not status.running):
            # Another reconciler told it something meanwhile: the next turn looks again.
            with suppress(Conflict):
                self._target.apply(wish, expect=status.number)

    def _wish(self, state: State, coming: Mapping[str, Step] | None = None) -> Wish:
        made = routes(state, coming)
        named = {v.digest for route in made for v in route.variants} | {d for route in made for d in route.warm}
        return Wish(
            routes=made,
            packages={digest: str(self._place(digest)) for digest in sorted(named)},
            grants=self._grants(state),
        )


def _overtaken(endpoint: EndpointState, release: Release) -> Settled:
    last = last_step(endpoint, release)
    return Settled(
        endpoint=release.endpoint,
        revision=release.revision,
        outcome="live" if last is not None and last.phase == "live" else "superseded",
        reason=f"release {endpoint.releases[-1].revision} was wished",
        at=last.at if last else 0.0,
    )


def _stages(release: Release, situation: Situation) -> tuple[Stage, ...]:
    strategy = cast("type[Strategy]", load("strategy", release.strategy))()
    return strategy.stages(release, situation.stable)


def _subject(endpoint: str) -> str:
    return f"endpoint/{endpoint}"
