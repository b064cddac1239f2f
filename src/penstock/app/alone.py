"""Carry one wish out in this process, where no control plane runs that would.

    wish (registry) -> reconcile, turn by turn -> snapshot -> the data plane answers by it

The control plane's own loop without its evidence: a rollout of another endpoint is left waiting, never judged. A
control plane that comes up meanwhile does the same work, and of two that write one step one gives way.
"""

from __future__ import annotations

import time
from typing import cast

from penstock.adapters import load
from penstock.app.app import App
from penstock.app.releasing import wait_until_settled
from penstock.records import Record, Release
from penstock.registry.grants import grants
from penstock.release.reconcile import Evidence, Reconciler
from penstock.release.target import Target

PAUSE_S = 0.02


def carry_out(app: App, made: Release, *, timeout_s: float) -> str:
    """Turn until a release has ended, or the time runs out.

    Returns:
        Its phase, as `wait_until_settled` says it.

    Raises:
        TargetFailed: The data plane cannot be looked at or told.
    """
    system = app.registry.system()
    serve = app.config.serve
    local = cast("type[Target]", load("target", "local"))

    def append(kind: str, subject: str, record: Record, expect: int | None) -> object:
        return app.registry.append(kind, subject, record, by=system, expect=expect)

    reconciler = Reconciler(
        local(app.home, host=serve.host, port=serve.port, workers=serve.workers),  # type: ignore[call-arg]
        state=app.state,
        append=append,
        place=app.registry.packages.path,
        grants=lambda state: grants(state, time.time()),
        evidence=lambda _: Evidence(),
    )
    deadline = time.monotonic() + timeout_s
    while made.revision not in app.state().endpoint(made.endpoint).settled and time.monotonic() < deadline:
        reconciler.turn()
        time.sleep(PAUSE_S)
    return wait_until_settled(app, made, timeout_s=0.0)
