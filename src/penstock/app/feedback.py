"""Feedback beside the turns: incidents become proposals, and a proposed retraining is carried out.

    open incidents, live versions -> a look at an endpoint, in its thread -> proposals -> retraining

One thread an endpoint, never two, and no turn waits for it. An endpoint is looked at when its incidents or its live
version changed, and again a while later where something had to wait.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping

from penstock.app.app import App
from penstock.app.proposing import make_proposals
from penstock.app.retraining import CAUSE, carry_on
from penstock.errors import Conflict, Unready
from penstock.registry.state import EndpointState, State

AGAIN_S = 60.0
"""What had to wait (for outcomes, for a rollout under way) is looked at again after this long."""
STOP_S = 5.0
log = logging.getLogger("penstock.feedback")
Seen = tuple[int, frozenset[tuple[str, float]]]


class Feedback:
    """Proposals and retrainings of one home.

    Args:
        app: At work as Penstock itself.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._seen: dict[str, Seen] = {}
        self._again_at: dict[str, float] = {}
        self._running: dict[str, threading.Thread] = {}
        self._stopped = threading.Event()

    def turn(self, state: State, watermarks: Mapping[str, float]) -> None:
        """Look at endpoints whose incidents or live version changed, each in its thread; returns at once.

        Args:
            state: The registry's.
            watermarks: Endpoint -> event time up to which it was watched.
        """
        for name, at in watermarks.items():
            known = state.endpoints.get(name)
            if known is None or known.stable is None or not self._is_due(name, known):
                continue
            self._again_at.pop(name, None)
            thread = threading.Thread(target=self._work, args=(name, at), name=f"feedback-{name}", daemon=True)
            self._running[name] = thread
            thread.start()

    def finish(self) -> None:
        """Stop the commands that run; the next control plane runs them again."""
        self._stopped.set()
        for thread in self._running.values():
            thread.join(STOP_S)

    def wait(self, endpoint: str, timeout_s: float) -> bool:
        """Whether nothing runs for an endpoint any more, after so long at most."""
        thread = self._running.get(endpoint)
        if thread is not None:
            thread.join(timeout_s)
        return thread is None or not thread.is_alive()

    def _is_due(self, name: str, known: EndpointState) -> bool:
        """Whether there is something new, or something waited long enough; not while the last look goes on."""
        thread = self._running.get(name)
        if self._stopped.is_set() or (thread is not None and thread.is_alive()):
            return False
        causes = frozenset((one.cause, one.opened_at) for one in known.open_incidents().values() if one.cause != CAUSE)
        seen = (known.stable.revision if known.stable else 0, causes)
        is_news = self._seen.get(name) != seen
        self._seen[name] = seen
        return is_news or time.monotonic() >= self._again_at.get(name, float("inf"))

    def _work(self, name: str, at: float) -> None:
        """The whole of one look; what fails is told to the log and hurts nobody."""
        try:
            make_proposals(self._app, name, at=at)
            carry_on(self._app, name, at=at, stopped=self._stopped)
        except (Unready, Conflict) as reason:
            log.info("the feedback of %s waits: %s", name, reason.message)
            self._again_at[name] = time.monotonic() + AGAIN_S
        except Exception:
            log.exception("the feedback of %s failed", name)
