"""What was answered, told on from the journals: at least once, in each writer's order, never on the request path.

    journal/*.wal --from the cursor on--> exchanges of one endpoint, their share --> Exporter.send
    exports/ENDPOINT.cursor   how far: written behind what was taken, so that a crash repeats and never leaves out

A receiver that is not there is asked again, ever more slowly, for as long as it takes; the journals keep what it has
not had (`holds`). An event that it will never take is tried a few times, named in the log, and passed. Who is set up
later is told from then on. Endpoints that log nothing have nothing to tell.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from urllib.parse import quote

import msgspec

from penstock.access.files import make_folder, write_whole
from penstock.errors import Corrupt, PenstockError, Refused, Unready
from penstock.log import captures
from penstock.log.journal import FRAME_BYTES, HEADER, read_segment
from penstock.log.tail import segments
from penstock.observe.exporter import Exporter
from penstock.records import Exchange, Record, decode, encode
from penstock.tensors import Signature

IDLE_S = 0.25
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 60.0
REFUSALS = 5
"""How often one event may be refused before it is passed."""
SAVE_S = 1.0
PART_BYTES = 256 << 10
TURN_S = 1.0
"""How long a turn goes on before it lets others look."""
log = logging.getLogger("penstock.exports")


class Cursor(Record, frozen=True, kw_only=True):
    """How far one exporter is: bytes by segment. Format 1."""

    format: int = 1
    offsets: dict[str, int] = {}


class Delivered(Record, frozen=True, kw_only=True):
    """Where an exporter stands, for people and for metrics.

    Attributes:
        sent: Exchanges since this process began.
        refused: Exchanges passed because the receiver will not take them.
        behind_s: Age of the oldest exchange that is not sent, in seconds; 0 where there is none.
        trouble: Why it does not go on just now; empty where it does.
    """

    endpoint: str
    kind: str
    sent: int = 0
    refused: int = 0
    behind_s: float = 0.0
    trouble: str = ""


class Delivery:
    """One exporter on its way along the journals.

    Args:
        place: ``HOME/log``.
        endpoint: Whose exchanges are told.
        share: Part of them.
        exporter: Who tells.
        signature: Of a model's version, wherever it is kept.
    """

    def __init__(
        self,
        place: Path,
        endpoint: str,
        *,
        share: float,
        exporter: Exporter,
        signature: Callable[[str, int], Signature],
    ) -> None:
        self.sent = 0
        self.refused = 0
        self.trouble = ""
        self._endpoint = endpoint
        self._share = share
        self._exporter = exporter
        self._signature = signature
        self._signatures: dict[tuple[str, int], Signature] = {}
        self._journal = place / "journal"
        self._file = place / "exports" / f"{quote(endpoint, safe='')}.cursor"
        self._offsets = self._remembered()
        self._saved_at = time.monotonic()
        self._within = 0
        self._tries = 0
        self._pause_s = FIRST_PAUSE_S
        self._waiting_since = 0.0
        self._damaged: set[str] = set()

    @property
    def behind_s(self) -> float:
        """Age of the oldest exchange that is not sent, in seconds; 0 where there is none."""
        return max(time.time() - self._waiting_since, 0.0) if self._waiting_since else 0.0

    def turn(self) -> float:
        """Tell what there is, for a second at most; how long to wait before the next turn, in seconds."""
        until = time.monotonic() + TURN_S
        try:
            for path, payload in self._payloads():
                self._tell(payload)
                self._offsets[path.name] += FRAME_BYTES + len(payload)
                self._within = 0
                if time.monotonic() - self._saved_at > SAVE_S:
                    self.save()
                if time.monotonic() > until:
                    return 0.0
        except PenstockError as error:
            return self._paused(error)
        self._waiting_since = 0.0
        self.save()
        return IDLE_S

    def holds(self) -> frozenset[str]:
        """Segments of which something is still to be told; they must stay."""
        return frozenset(
            path.name
            for path in segments(self._journal)
            if path.name not in self._damaged and path.stat().st_size > self._offset(path.name)
        )

    def save(self) -> None:
        """Write the cursor, durably, where it moved."""
        self._saved_at = time.monotonic()
        there = {path.name for path in segments(self._journal)}
        data = encode(Cursor(offsets={name: at for name, at in self._offsets.items() if name in there}))
        if not self._file.exists() or self._file.read_bytes() != data:
            make_folder(self._file.parent)
            write_whole(self._file, data)

    def close(self) -> None:
        """Remember how far it is, and let go."""
        self.save()
        self._exporter.close()

    def _remembered(self) -> dict[str, int]:
        """The cursor; a new exporter begins where the journals end now."""
        try:
            return dict(decode(self._file.read_bytes(), Cursor).offsets)
        except FileNotFoundError:
            pass
        found = {path.name: path.stat().st_size for path in segments(self._journal)}
        make_folder(self._file.parent)
        write_whole(self._file, encode(Cursor(offsets=found)))
        return found

    def _offset(self, name: str) -> int:
        return max(self._offsets.get(name, 0), len(HEADER))

    def _payloads(self) -> Iterator[tuple[Path, bytes]]:
        """What is not told yet, segment by segment."""
        for path in segments(self._journal):
            while path.name not in self._damaged:
                self._offsets[path.name] = offset = self._offset(path.name)
                try:
                    payloads, end = read_segment(path, offset, PART_BYTES)
                except FileNotFoundError:
                    break
                except Corrupt as error:
                    log.error("%s: %s; what lies behind it is not told", self._endpoint, error)
                    self._damaged.add(path.name)
                    break
                for payload in payloads:
                    yield path, payload
                if end == offset:
                    break

    def _tell(self, payload: bytes) -> None:
        """Send a payload's exchanges, those left out that went before an interruption."""
        try:
            capture = captures.decode(payload)
            mine = capture.endpoint == self._endpoint and not capture.shadow
            exchanges = captures.unpack(payload) if mine else []
        except (Corrupt, msgspec.DecodeError) as error:
            log.error("%s: an entry of the log cannot be read and is not told: %s", self._endpoint, error)
            return
        for exchange in exchanges[self._within :]:
            if chosen(exchange.id, self._share):
                self._waiting_since = exchange.received_at
                self._send(exchange)
            self._within += 1

    def _send(self, exchange: Exchange) -> None:
        try:
            self._exporter.send(exchange, self._signature_of(exchange.model, exchange.version))
        except Refused as error:
            self._tries += 1
            if self._tries < REFUSALS:
                raise Unready(error.message, code=error.code) from error
            log.error("%s: %s is passed: %s", self._endpoint, exchange.id, error.message)
            self.refused += 1
        else:
            self.sent += 1
        self._tries = 0
        self.trouble = ""
        self._pause_s = FIRST_PAUSE_S

    def _signature_of(self, model: str, version: int) -> Signature:
        key = (model, version)
        if key not in self._signatures:
            self._signatures[key] = self._signature(model, version)
        return self._signatures[key]

    def _paused(self, error: PenstockError) -> float:
        """Wait, twice as long each time."""
        if self.trouble != error.message:
            log.warning("%s: %s; what it should have is kept", self._endpoint, error.message)
        self.trouble = error.message
        pause, self._pause_s = self._pause_s, min(2 * self._pause_s, LONGEST_PAUSE_S)
        return pause


def chosen(name: str, share: float) -> bool:
    """Whether an id is in a share of all; always the same way."""
    return share >= 1 or int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") < share * 2**64
