"""One turn of the control plane: read what happened, watch it, decide, act, write down, show.

    journals -> tail -> watchers (incidents) -> guards (measurements) -> reconcile (steps) -> events; views -> run/

Everything a turn knows is rebuilt from the log and the registry, so the process around it may die at any point.
Beside the turns, in threads of their own: journals become tables, exporters are told what was answered, incidents
become proposals and retrainings.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from itertools import islice
from typing import cast

from penstock.adapters import load
from penstock.app.app import App
from penstock.app.compaction import Compaction
from penstock.app.deliveries import Deliveries
from penstock.app.feedback import Feedback
from penstock.app.incidents import news_of
from penstock.app.trustwatch import TrustWatch
from penstock.app.views import Observed, Series, write_observed
from penstock.app.watcher import Watcher
from penstock.errors import Conflict, Untrusted
from penstock.log.tail import Tail
from penstock.packages.read import Package
from penstock.records import AliasMove, Exchange, Incident, Outcome, Record, Release
from penstock.registry.grants import grants
from penstock.registry.state import EndpointState, State
from penstock.release.answers import Score
from penstock.release.guards import Watch
from penstock.release.reconcile import Evidence, Reconciler, Turn
from penstock.release.target import Target

CHAMPION = "champion"
SHOW_S = 0.5
POINTS = 400
"""Points kept of each test's e-value."""
WAITING = 250_000
"""Answers of a rollout that wait for their outcome; the oldest give way."""
log = logging.getLogger("penstock.control")


class Rollout:
    """The evidence of one release, and how it grew.

    Args:
        release: The rollout's.
        scores: What the stable version answered before it.
    """

    def __init__(self, release: Release, scores: Iterable[Score]) -> None:
        self.watch = Watch(release, scores)
        self.curves: dict[str, list[tuple[float, float]]] = {}
        self._answered: dict[str, Exchange] = {}

    def see(self, exchanges: Iterable[Exchange]) -> None:
        """Take exchanges in; those of this release wait for their outcome."""
        held = [one for one in exchanges if one.release == self.watch.release.revision and not one.shadow]
        self._answered.update((one.id, one) for one in held if one.code == "ok")
        for old in list(islice(self._answered, max(0, len(self._answered) - WAITING))):
            del self._answered[old]
        self.watch.see(exchanges)

    def learn(self, outcomes: Iterable[Outcome]) -> None:
        """Take in which of its answers were wrong; of a request of many rows the first one speaks."""
        pairs = [(one.prediction.removesuffix(".0"), one) for one in outcomes if one.prediction.endswith(".0")]
        self.watch.learn((self._answered.pop(name), one) for name, one in pairs if name in self._answered)

    def remember(self) -> None:
        """Keep today's e-values for the chart; every second point is dropped when there are too many."""
        for one in self.watch.measurements():
            curve = self.curves.setdefault(one.test, [])
            if not curve or one.event_time > curve[-1][0]:
                curve.append((one.event_time, one.against))
            if len(curve) > POINTS:
                del curve[::2]

    def evidence(self) -> dict[str, Series]:
        """Test -> its e-value against the candidate, over event time."""
        return {
            test: Series(at=tuple(at for at, _ in curve), values=tuple(value for _, value in curve))
            for test, curve in self.curves.items()
        }


class ControlLoop:
    """The loop of one home; call `turn` again and again.

    Args:
        app: Penstock itself at work on the home.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        serve = app.config.serve
        made = cast("type[Target]", load("target", "local"))
        self.target: Target = made(app.home, host=serve.host, port=serve.port, workers=serve.workers)  # type: ignore[call-arg]
        self._exchanges = Tail(app.home / "log" / "journal", Exchange)
        self._outcomes = Tail(app.home / "log" / "outcomes", Outcome)
        self._watchers: dict[str, Watcher] = {}
        self._rollouts: dict[str, Rollout] = {}
        self._deliveries = Deliveries(app)
        self._compaction = Compaction(app.home / "log", held=self._deliveries.held)
        self._feedback = Feedback(app)
        self._trust = TrustWatch(app, self._write)
        self._shown_at = 0.0
        self._reconciler = Reconciler(
            self.target,
            state=app.state,
            append=self._append,
            place=app.registry.packages.path,
            grants=lambda state: grants(state, time.time()),
            evidence=self._evidence,
        )

    def turn(self) -> list[Turn]:
        """Everything once."""
        state = self._app.state()
        self._trust.turn(state)
        self._follow(state)
        self._see(self._exchanges.read())
        self._learn(self._outcomes.read())
        turns = self._reconciler.turn()
        for one in turns:
            if one.error:
                log.error("endpoint %s, release %d: %s", one.endpoint, one.revision, one.error)
            if one.settled is not None and one.settled.outcome == "live":
                self._crown(one.endpoint, one.revision)
        self._show()
        self._deliveries.turn()
        self._compaction.turn()
        watermarks = {name: watcher.watermark for name, watcher in self._watchers.items() if watcher.watermark}
        self._feedback.turn(self._app.state(), watermarks)
        return turns

    def stop(self) -> None:
        """The last turn is over: finish what runs beside the turns."""
        self._feedback.finish()
        self._deliveries.finish()
        self._compaction.finish()

    def _follow(self, state: State) -> None:
        """Look at what is released now: each endpoint's stable version, each rollout under way."""
        for name, endpoint in state.endpoints.items():
            if endpoint.current is None:
                continue
            watcher = self._watchers.setdefault(name, Watcher(name))
            stable = endpoint.stable
            package = self._opened(stable.variants[0].digest) if self._is_news(name, endpoint) and stable else None
            self._write(watcher.follow(endpoint.current.revision, endpoint.live, package), state)
            known = self._rollouts.get(name)
            if known is None or known.watch.release.revision != endpoint.current.revision:
                self._rollouts[name] = Rollout(endpoint.current, watcher.scores)

    def _opened(self, digest: str) -> Package | None:
        """The package; None where its signer is trusted no longer, which must not end the turns."""
        try:
            return self._app.open_package(digest)
        except Untrusted as error:
            log.debug("a package that answers is not watched: %s", error)
            return None

    def _is_news(self, name: str, endpoint: EndpointState) -> bool:
        """Whether another package answers than the watcher knows."""
        stable = endpoint.stable
        return stable is not None and self._watchers[name].digest != stable.variants[0].digest

    def _see(self, exchanges: list[Exchange]) -> None:
        """What was answered."""
        by_endpoint: dict[str, list[Exchange]] = {}
        for exchange in exchanges:
            by_endpoint.setdefault(exchange.endpoint, []).append(exchange)
        for name, some in by_endpoint.items():
            if name in self._watchers:
                self._write(self._watchers[name].see(some), self._app.state())
                self._rollouts[name].see(some)
                self._rollouts[name].remember()

    def _learn(self, outcomes: list[Outcome]) -> None:
        """What turned out to be true; an outcome belongs to the endpoint that waits for it."""
        for name, watcher in self._watchers.items() if outcomes else ():
            self._write(watcher.learn(outcomes), self._app.state())
            self._rollouts[name].learn(outcomes)

    def _evidence(self, release: Release) -> Evidence:
        """What the guards measured of a release under way."""
        known = self._rollouts.get(release.endpoint)
        if known is None or known.watch.release.revision != release.revision:
            return Evidence()
        return Evidence(known.watch.measurements(), known.watch.event_time)

    def _crown(self, endpoint: str, revision: int) -> None:
        """What answers everything is its model's champion."""
        state = self._app.state()
        live = state.endpoint(endpoint).releases[revision - 1].variants[0]
        if state.model(live.model).aliases.get(CHAMPION) != live.version:
            move = AliasMove(model=live.model, alias=CHAMPION, version=live.version, reason=f"live at {endpoint}")
            self._append("alias.moved", f"model/{live.model}", move, None)

    def _write(self, incidents: Iterable[Incident], state: State) -> None:
        """Record what is news of what the monitors opened or closed."""
        for incident in incidents:
            endpoint = state.endpoints.get(incident.endpoint, EndpointState())
            news = news_of(endpoint.incidents.get(incident.cause), incident)
            if news is None:
                continue
            try:
                self._append(news[0], f"endpoint/{incident.endpoint}/incidents", news[1], None)
            except Conflict as conflict:
                log.info("%s of %s: somebody was faster: %s", news[0], incident.cause, conflict.message)
            state = self._app.state()

    def _append(self, kind: str, subject: str, record: Record, expect: int | None) -> object:
        """Write an event as Penstock itself."""
        return self._app.registry.append(kind, subject, record, by=self._app.identity, expect=expect)

    def _show(self) -> None:
        """Write the views, a few times a second."""
        if time.monotonic() - self._shown_at < SHOW_S:
            return
        self._shown_at = time.monotonic()
        status = self.target.observe()
        views = {}
        for name, watcher in self._watchers.items():
            rollout = self._rollouts[name]
            rollout.remember()
            views[name] = watcher.view(rollout.watch.measurements(), rollout.evidence())
        ready = sum(not worker.draining for worker in status.workers)
        observed = Observed(
            at=time.time(), url=status.url, workers=len(status.workers), workers_ready=ready, endpoints=views
        )
        write_observed(self._app.home, observed)
