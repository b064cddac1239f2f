"""The contract of an exporter: it tells somebody else what was answered, one exchange after the other.

    send(exchange)      once, and again for as long as it raises `Unready`
    close()

`penstock.observe.delivery` reads the log and remembers how far; an exporter only speaks its receiver's protocol. What
it sent may come again after a crash, with the same ids.
"""

from __future__ import annotations

from typing import Protocol

from penstock.config import ExporterConfig
from penstock.records import Exchange
from penstock.tensors import Signature


class Exporter(Protocol):
    """One way of telling.

    Args:
        endpoint: Whose exchanges it gets.
        settings: As in ``penstock.yaml``.
    """

    def __init__(self, endpoint: str, settings: ExporterConfig) -> None: ...

    def send(self, exchange: Exchange, signature: Signature) -> None:
        """Hand one over, whole.

        Args:
            exchange: Answered to somebody.
            signature: Of the version that answered.

        Raises:
            Unready: Not now; the same one comes again later.
            Refused: The receiver will never take it.
        """

    def close(self) -> None:
        """Let go of the receiver; a later `send` finds it again."""
