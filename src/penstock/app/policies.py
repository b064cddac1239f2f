"""Which policy rules a home; apart from `checking`, so that a release or a rollback loads no data tools."""

from __future__ import annotations

from pathlib import Path

from penstock.app.app import App
from penstock.gate.policy import Policy, read_policy, starter


def policy_of(app: App, path: Path | None = None) -> Policy:
    """The policy that rules this home: the one given, the configured one, or the starter."""
    configured = app.config.policy
    if path is not None:
        return read_policy(path)
    return read_policy(app.home.parent / configured) if configured else starter()
