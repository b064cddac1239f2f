"""Walk a chain of events and say where it is not what was written, down to the number and the field.

    events in stored order -> Step by step: number, link, hash, signature, rules -> problems, state

A hash says that something above it changed, not what. Where putting back what a field must have been makes the
hash fit again, that field is named; `time` and `body` cannot be told apart, because nothing else repeats them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import msgspec

from penstock.access.identities import LOCAL_ADMIN, SYSTEM_NAME
from penstock.access.keys import PublicKey
from penstock.errors import PenstockError
from penstock.records import Event, Record, decode
from penstock.registry.events import FIRST_PREVIOUS, KINDS, hash_of, record_of, subject_of
from penstock.registry.fold import apply
from penstock.registry.rules import judge
from penstock.registry.state import State

UNTOLD = "time or body"
_LIKELY_GENERATIONS = 3
_LIKELY_SEQS = 64


class Problem(Record, frozen=True, kw_only=True):
    """One thing that is not what was written.

    Attributes:
        seq: The event's number; 0 where no one event is at fault.
        field: The event's field at fault; empty where it is the whole event or a file.
        file: The file at fault, from the home folder; empty where it is an event.
        message: In words; never a value.
    """

    message: str
    seq: int = 0
    field: str = ""
    file: str = ""

    def __str__(self) -> str:
        place = f"event {self.seq}" if self.seq else self.file
        return f"{place}{f', {self.field}' if self.field else ''}: {self.message}"


class Walk:
    """The way along one chain; feed it every event in stored order."""

    def __init__(self, keys: Sequence[PublicKey]) -> None:
        self.problems: list[Problem] = []
        self.state = State()
        self.hashes: dict[int, str] = {}
        self._keys = keys
        self._missing: list[int] = []
        self._sound = True
        self._last_seq = 0
        self._last_hash = FIRST_PREVIOUS

    def unreadable(self, seq: int, field: str) -> None:
        """An event that the store could not read."""
        self._at(seq, "it is not of its type", field=field)
        self._last_seq, self._last_hash = seq, ""

    def take(self, event: Event) -> None:
        """The next event."""
        expected = self._last_seq + 1
        if event.seq > expected:
            self._at(expected, "it is missing" if event.seq == expected + 1 else f"all before {event.seq} are missing")
            self._missing += list(range(expected, min(event.seq, expected + _LIKELY_SEQS)))
        link_known = bool(self._last_hash) and event.seq == expected
        field = self._changed_field(event)
        if field:
            self._at(event.seq, "it is not what was written", field=field)
        elif link_known and event.previous != self._last_hash:
            self._at(event.seq, "it does not follow the event before it", field="previous")
        if self._sound:
            self._follow(event)
        self.hashes[event.seq] = event.hash
        # After a changed hash the true one is what the next event must carry.
        self._last_seq, self._last_hash = event.seq, hash_of(event) if field == "hash" else event.hash

    def _at(self, seq: int, message: str, *, field: str = "") -> None:
        self.problems.append(Problem(seq=seq, field=field, message=message))
        self._sound = False

    def _signed(self, digest: str, signature: str) -> bool:
        return any(key.verify(digest.encode(), signature) for key in self._keys)

    def _changed_field(self, event: Event) -> str:
        true_hash = hash_of(event)
        if event.hash == true_hash:
            return "" if self._signed(event.hash, event.signature) else "signature"
        if self._signed(true_hash, event.signature):
            return "hash"
        for repaired, field in self._repairs(event):
            if hash_of(repaired) == event.hash:
                return field
        return UNTOLD

    def _repairs(self, event: Event) -> Iterator[tuple[Event, str]]:
        """The event with one field put back to what it may have been."""
        for seq in chain(range(self._last_seq + 1, self._last_seq + _LIKELY_SEQS), self._missing, self.hashes):
            yield msgspec.structs.replace(event, seq=seq), "seq"
        yield msgspec.structs.replace(event, previous=self._last_hash), "previous"
        for kind in KINDS:
            yield msgspec.structs.replace(event, kind=kind), "kind"
        for actor in {*self.state.identities, LOCAL_ADMIN, SYSTEM_NAME}:
            yield msgspec.structs.replace(event, actor=actor), "actor"
        for subject in _subjects(event):
            yield msgspec.structs.replace(event, subject=subject), "subject"
        following = self.state.generation(event.subject)
        for generation in chain(range(following, following + _LIKELY_GENERATIONS), range(1, event.seq + 1)):
            yield msgspec.structs.replace(event, generation=generation), "generation"

    def _follow(self, event: Event) -> None:
        """Judge the event by the rules it was written under, and fold it."""
        try:
            record = record_of(event)
            if event.subject != subject_of(event.kind, record):
                self._at(event.seq, "it is about another subject than its record", field="subject")
            elif event.generation != self.state.generation(event.subject) + 1:
                self._at(event.seq, "it is not the next of its subject", field="generation")
            else:
                judge(self.state, event.kind, record, actor=event.actor, time=event.time)
                self.state = apply(self.state, event, record)
        except PenstockError as error:
            self._at(event.seq, f"it breaks a rule: {error.message}", field="body")


def _subjects(event: Event) -> Iterator[str]:
    """What the event may have been about, as its body says."""
    for entry in KINDS.values():
        try:
            record = decode(event.body, entry.record)
        except PenstockError:
            continue
        yield entry.subject.format(record)
