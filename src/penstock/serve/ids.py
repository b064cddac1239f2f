"""Stage 4, serve: ids of predictions: no two alike, whichever worker made them."""

from __future__ import annotations


class Ids:
    """Prediction ids of one worker: a random prefix and a number."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._next = 1

    def new(self) -> str:
        """The next one."""
        return self.many(1)[0]

    def many(self, length: int) -> list[str]:
        """So many."""
        first = self._next
        self._next = first + length
        prefix = self._prefix
        return [f"{prefix}{number:08x}" for number in range(first, first + length)]
