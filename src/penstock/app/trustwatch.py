"""What the control loop does about keys: the data plane's files, and an incident where a lost signer still answers.

state --news?--> keys/trusted.pub, keys/revoked.json      (where who acted died before it wrote them)
--> endpoints that answer by what nothing would load again -> incident `signer`, closed by itself
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from msgspec.structs import replace

from penstock.app.app import App
from penstock.app.keys import distrusted
from penstock.records import Incident, Scalar
from penstock.registry.bootstrap import write_trusted
from penstock.registry.state import EndpointState, State

CAUSE = "signer"


class TrustWatch:
    """Keeps files and incidents as the chain's keys say.

    Args:
        app: Penstock itself at work on the home.
        write: Records what is news of incidents.
    """

    def __init__(self, app: App, write: Callable[[Iterable[Incident], State], None]) -> None:
        self._app = app
        self._write = write
        self._seen = -1

    def turn(self, state: State) -> None:
        """Look, where anything was written since the last look.

        Raises:
            OSError: The files cannot be written.
        """
        if state.seq == self._seen:
            return
        write_trusted(self._app.registry.home, self._app.registry)
        self._write(self._incidents(state), state)
        self._seen = state.seq

    def _incidents(self, state: State) -> list[Incident]:
        """Opened where a lost signer answers; closed where none does any more."""
        now, lost = time.time(), distrusted(self._app)
        said = [_opened(name, refs, now) for name, refs in lost.items()]
        for name, endpoint in state.endpoints.items():
            known = endpoint.open_incidents().get(CAUSE)
            if known is not None and name not in lost:
                said.append(replace(known, closed_at=now))
        return [one for one in said if one.closed_at or CAUSE not in _open(state, one.endpoint)]


def _open(state: State, endpoint: str) -> dict[str, Incident]:
    return state.endpoints.get(endpoint, EndpointState()).open_incidents()


def _opened(endpoint: str, refs: tuple[str, ...], now: float) -> Incident:
    named: list[Scalar] = list(refs)
    return Incident(
        endpoint=endpoint,
        cause=CAUSE,
        severity="page",
        title=f"the signer of {', '.join(refs)} is trusted no longer",
        effect="it goes on answering from memory; no worker that starts from now on loads it",
        guarantee="no chance in it: the chain says whose packages are trusted",
        closes="it is signed anew (penstock key resign), or another version answers",
        opened_at=now,
        evidence={"versions": named},
    )
