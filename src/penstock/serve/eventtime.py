"""Stage 4, serve: the time at which something happened, as a caller writes it, in seconds since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime

from penstock.errors import InvalidInput


def seconds(text: str | float, where: str) -> float:
    """A time as epoch seconds or ISO 8601 (without a zone: UTC).

    Raises:
        InvalidInput: It is neither, or outside the years 1970 to 5138.
    """
    try:
        value = float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(str(text))
        except ValueError:
            raise _not_a_time(where) from None
        value = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not 0 <= value < 1e11:
        raise _not_a_time(where)
    return value


def _not_a_time(where: str) -> InvalidInput:
    return InvalidInput("this is not a time", "send epoch seconds or ISO 8601", where=where)
