"""Every error Penstock raises on purpose, as one tree.

    PenstockError(message, hint)
    |- Refused   the caller must change    InvalidInput NotFound Conflict Untrusted Forbidden BadConfig
    |- Unready   try again later           NotReady Overloaded DeadlineExceeded
    `- Fault     ours to mend              ModelFailed TargetFailed Corrupt

A refusal's message is written for the caller and never repeats an input value. A fault's message is
written for the log; the client gets its code and a request id, nothing else. A failed gate or a drift
alarm is a result, not an exception. Each protocol file owns one map from these classes to its codes.
"""

from __future__ import annotations


class PenstockError(Exception):
    """The root: a sentence that says what is wrong, and a hint that says what to do next.

    Args:
        message: What is wrong, one sentence.
        hint: What to do next; empty where there is nothing to do.
        code: Stable name, ``stage.what``; the class's own where none is given.
        where: Path of the field at fault (``inputs[0].data[3]``); empty where there is none.
    """

    code = "penstock.error"

    def __init__(self, message: str, hint: str = "", *, code: str = "", where: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or type(self).code
        self.where = where

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.message}{f' ({self.hint})' if self.hint else ''}"


class Refused(PenstockError):
    """The caller must change something; sending the same again gives the same."""

    code = "penstock.refused"


class InvalidInput(Refused):
    """The input does not fit the signature or the format."""

    code = "input.invalid"


class NotFound(Refused):
    """There is nothing of that name, or the caller may not know of it."""

    code = "registry.not_found"


class Conflict(Refused):
    """Somebody else changed it first; read again, then decide again."""

    code = "registry.conflict"


class Untrusted(Refused):
    """A signature, a digest or an artifact's content does not earn trust."""

    code = "packages.untrusted"


class Forbidden(Refused):
    """The identity may not do this."""

    code = "access.forbidden"


class BadConfig(Refused):
    """A setting is unknown, of the wrong type, or contradicts another."""

    code = "config.bad"


class Unready(PenstockError):
    """Nothing is wrong with the request; try again later."""

    code = "penstock.unready"


class NotReady(Unready):
    """What is asked for is still starting, loading or proving itself."""

    code = "serve.not_ready"


class Overloaded(Unready):
    """The queue is full; come back after `retry_after_s` seconds."""

    code = "serve.overloaded"
    retry_after_s = 1


class DeadlineExceeded(Unready):
    """The caller's time budget ran out before the answer was there."""

    code = "serve.deadline"


class Fault(PenstockError):
    """Ours to mend; the text goes to the log, never to a client."""

    code = "penstock.fault"


class ModelFailed(Fault):
    """The model raised, hung, crashed or answered nonsense."""

    code = "runtime.model_failed"


class TargetFailed(Fault):
    """What should run a release does not do what it was told."""

    code = "release.target_failed"


class Corrupt(Fault):
    """Stored bytes are not the bytes that were written."""

    code = "registry.corrupt"
