"""The python engine's processes: one that has loaded and answers nobody, and one forked from it that answers.

current() -> SandboxedModel    the one that answers; a new one, some milliseconds later, when it is gone
discard()                      it died or hangs

A model that cannot be forked answers where it was loaded, and another is loaded in the background to take its place.
"""

from __future__ import annotations

from penstock.errors import ModelFailed
from penstock.runtime.loading import KILLED
from penstock.runtime.memory import resident_bytes, unshared_bytes
from penstock.runtime.sandboxedmodel import SandboxedModel
from penstock.runtime.template import Template

_LOADS = 2
_LOADS_IF_KILLED = 5
"""How often a model that was loaded before is loaded for one request, and how often where somebody kills it at that."""


class Workers:
    """The one that answers, and the template from which the next is forked.

    Attributes:
        deaths: Workers that were found dead or had to be ended.
        killed: Whether the last one was killed from outside.
    """

    def __init__(self, template: Template) -> None:
        self.deaths = 0
        self.killed = False
        self.template = template
        self._current: SandboxedModel | None = None
        self._closed = False
        self._ever_loaded = False

    @property
    def pid(self) -> int:
        """Process id of the one that answers; 0 while there is none."""
        current = self._current
        return current.pid if current else 0

    @property
    def need_bytes(self) -> int:
        """Memory that the template and one that answers take at most, what they share counted once."""
        template, pid = self.template, self.pid
        if template.unfit or not template.pid:
            return 2 * max(template.loaded_bytes, resident_bytes(pid))
        return max(template.loaded_bytes, resident_bytes(template.pid)) + unshared_bytes(pid, template.pid)

    def idle(self) -> SandboxedModel | None:
        """The one that answers, if it waits for a request; it may have died since it was last heard of."""
        current = self._current
        return current if current is not None and not current.busy_since and not self._closed else None

    def current(self, deadline: float) -> SandboxedModel:
        """The one that answers, started or replaced where it has to be.

        Raises:
            TimeoutError: It was not ready before the deadline (``time.monotonic``).
            ModelFailed: No process can load the model.
            BadConfig: This machine has too few walls, or too little memory.
        """
        if self._closed:
            raise _closed()
        if self._current is not None and not self._current.alive():
            self.discard()
        loads = 0
        while self._current is None:
            if self._closed:
                raise _closed()
            try:
                self._current = self.template.take(deadline)
            except ModelFailed as error:
                # A model that has been loaded before can be loaded: what died was killed, and nobody need see it.
                loads += 1
                if loads >= (_LOADS_IF_KILLED if error.code == KILLED else _LOADS) or not self._ever_loaded:
                    raise
        self._ever_loaded = True
        return self._current

    def discard(self) -> ModelFailed:
        """End the one that answers; the answer tells how it died."""
        current, self._current = self._current, None
        if current is None:
            return ModelFailed("the model's process is gone")
        self.deaths += 1
        ended = current.end()
        self.killed = current.killed
        return ended

    def interrupt(self) -> None:
        """Say that all is over: whoever waits for an answer hears at once."""
        self._closed = True
        current = self._current
        if current:
            current.interrupt()

    def close(self) -> None:
        """End it, when nobody waits for an answer any more; more than once is harmless."""
        self._closed = True
        current, self._current = self._current, None
        if current:
            current.end()


def _closed() -> ModelFailed:
    """Nobody asks a closed engine."""
    return ModelFailed("the engine is closed", code="runtime.closed")
