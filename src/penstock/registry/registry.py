"""The registry: the one way to change anything that people agree on, and to know what is true now.

    append(kind, subject, record, by) -> checked, judged, sealed, on the disk -> Event
    state() -> everything folded, other processes' events included

What comes in: records and who acts. What goes out: events and states. Nothing is ever updated or deleted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self, cast

from penstock.access.files import locked, remove_leftovers, write_whole
from penstock.access.identities import SYSTEM_NAME, Identity, require
from penstock.access.keys import PublicKey, SigningKey, load_or_create
from penstock.access.tokens import UNLIMITED, Rate, new_token, token_sha256
from penstock.adapters import load
from penstock.errors import Conflict, Corrupt
from penstock.records import (
    Event,
    IdentityRecord,
    Record,
    SignedHead,
    TokenRecord,
    TokenRevoked,
    encode,
)
from penstock.registry.blobs import Blobs
from penstock.registry.bootstrap import bootstrap
from penstock.registry.events import check_form, check_seal, entry_of, record_of, seal, subject_of
from penstock.registry.fold import apply
from penstock.registry.grants import identity, recognise
from penstock.registry.heads import check_head, read_head, sign_head
from penstock.registry.home import Home, make_home
from penstock.registry.rules import judge
from penstock.registry.state import State
from penstock.registry.store import Store

_BATCH = 1000


class Registry:
    """One home's events and artifacts; threads and processes may share it."""

    def __init__(self, home: Home, store: Store, key: SigningKey, *, clock: Callable[[], float] = time.time) -> None:
        self.home = home
        self.packages = Blobs(home.packages)
        self.reports = Blobs(home.reports)
        self._store = store
        self._key = key
        self._public = key.public()
        self._clock = clock
        self._state = State()
        self._mutex = threading.RLock()

    @classmethod
    def open(cls, folder: Path, *, clock: Callable[[], float] = time.time) -> Self:
        """Open a home; made, with keys, an administrator and their token, when it is not there.

        Safe to be killed at any point and to be called by many processes at once.

        Raises:
            BadConfig: The folder cannot be a home, or a newer Penstock wrote it.
            Corrupt: The events are not those that were written, or are fewer than the signed head says.
            Untrusted: The signing key can be read by others.
        """
        home = make_home(folder)
        with locked(home.lock), ExitStack() as undo:
            remove_leftovers(home.folder)
            key = load_or_create(home.keys)
            store = cast("type[Store]", load("store", "sqlite")).open(home.database)
            undo.callback(store.close)
            registry = cls(home, store, key, clock=clock)
            registry._check_own_head()
            registry.packages.clean()
            registry.reports.clean()
            bootstrap(home, registry)
            undo.pop_all()
        return registry

    @property
    def public_key(self) -> PublicKey:
        """What verifies this home's events and packages."""
        return self._public

    def close(self) -> None:
        """Give the database back."""
        self._store.close()

    def append(self, kind: str, subject: str, record: Record, *, by: Identity, expect: int | None = None) -> Event:
        """Write one event; it is on the disk when this returns.

        Args:
            kind: A key of `penstock.registry.events.KINDS`.
            subject: What it is about, as the kind's line says (``model/flights``).
            record: The kind's record.
            by: Who acts.
            expect: The subject's generation on which the decision rests; None where any will do.

        Raises:
            Forbidden: They may not, or it is their own work that they would approve.
            Conflict: The subject has another generation, or the record does not follow the state.
            NotFound: The kind, or what the record speaks of, does not exist.
            InvalidInput: Record, kind and subject do not fit each other.
            NotReady: The store is busy or full; nothing was written.
        """
        body = check_form(kind, subject, record)
        require(by, entry_of(kind).permission, endpoint=str(getattr(record, "endpoint", "")))
        after: list[State] = []

        def decide(news: Sequence[Event]) -> Event:
            before = self._follow(self._state, news)
            if expect is not None and before.generation(subject) != expect:
                raise Conflict(
                    f"the subject's generation is {before.generation(subject)} now", "read the state, then decide again"
                )
            now = self._clock()
            judge(before, kind, record, actor=by.name, time=now)
            event = self._sealed(before, now, (by.name, kind, subject, body))
            after.append(apply(before, event, record))
            return event

        with self._mutex:
            event = self._store.append(self._state.seq, decide)
            self._state = after[-1]
            self._keep_head()
        return event

    def state(self) -> State:
        """What is true now, with what other processes appended.

        Raises:
            Corrupt: An event is not the one that was written; the message names its number and field.
        """
        with self._mutex:
            while news := self._store.read(self._state.seq, _BATCH):
                self._state = self._follow(self._state, news)
            return self._state

    def events(self, since: int = 0, *, kind: str = "", subject: str = "", limit: int = 0) -> list[Event]:
        """The events numbered above `since`, oldest first, of one kind or subject where given; 0 is no limit."""
        found: list[Event] = []
        while batch := self._store.read(since, _BATCH):
            since = batch[-1].seq
            found += [e for e in batch if kind in ("", e.kind) and subject in ("", e.subject)]
            if limit and len(found) >= limit:
                return found[:limit]
        return found

    def head(self) -> SignedHead:
        """Where the chain stands now, signed; keep it outside the home and `verify` finds a store put back."""
        state = self.state()
        return sign_head(state.seq, state.head, self._clock(), key=self._key)

    def identity_of(self, token: str) -> Identity:
        """Who comes with this token.

        Raises:
            Forbidden: It is unknown, revoked or expired.
        """
        return recognise(self.state(), token, self._clock())

    def system(self) -> Identity:
        """Penstock itself: the reconcile loop, the monitors, a retraining that was proposed."""
        return identity(self.state(), SYSTEM_NAME)

    def local_token(self) -> str:
        """The local administrator's token, from the home's keys."""
        return self.home.token.read_text("ascii").strip()

    def add_identity(self, name: str, roles: tuple[str, ...], *, by: Identity) -> Identity:
        """Add somebody, or give them other roles from now on; no roles means they may do nothing.

        Raises:
            Forbidden: `by` is no administrator.
            NotFound: One of the roles does not exist.
        """
        self._append(IdentityRecord(name=name, roles=roles), "identity.added", by=by)
        return Identity(name=name, roles=roles)

    def issue_token(
        self,
        name: str,
        *,
        by: Identity,
        permissions: tuple[str, ...] = (),
        endpoints: tuple[str, ...] = (),
        expires_at: float = 0.0,
        rate: Rate = UNLIMITED,
    ) -> str:
        """A new token for an identity; this is the only time anybody sees it.

        Args:
            name: Whose it is.
            by: Who gives it.
            permissions: Narrows what their roles allow; empty means all that they allow.
            endpoints: Where it is good; empty means everywhere.
            expires_at: 0 means never.
            rate: How often it may be used for predictions.

        Raises:
            Forbidden: `by` is no administrator, or the owner does not have the permissions themselves.
            NotFound: There is no such identity.
        """
        token = new_token()
        record = TokenRecord(
            token_sha256=token_sha256(token),
            identity=name,
            permissions=permissions,
            endpoints=endpoints,
            expires_at=expires_at,
            rate_per_s=rate.per_s,
            burst=rate.burst,
        )
        self._append(record, "token.issued", by=by)
        return token

    def revoke(self, digest: str, *, by: Identity, reason: str = "") -> Event:
        """Make a token worthless; `digest` is its SHA-256, in hex.

        Raises:
            Forbidden: `by` is no administrator.
            NotFound: There is no such token.
        """
        return self._append(TokenRevoked(token_sha256=digest, reason=reason), "token.revoked", by=by)

    def _append(self, record: Record, kind: str, *, by: Identity) -> Event:
        return self.append(kind, subject_of(kind, record), record, by=by)

    def _follow(self, state: State, news: Sequence[Event]) -> State:
        for event in news:
            check_seal(event, state.seq + 1, state.head, self._public)
            state = apply(state, event, record_of(event))
        return state

    def _sealed(self, before: State, now: float, said: tuple[str, str, str, str]) -> Event:
        actor, kind, subject, body = said
        event = Event(
            seq=before.seq + 1,
            time=now,
            actor=actor,
            kind=kind,
            subject=subject,
            generation=before.generation(subject) + 1,
            body=body,
            previous=before.head,
            hash="",
            signature="",
        )
        return seal(event, self._key)

    def _keep_head(self) -> None:
        head = sign_head(self._state.seq, self._state.head, self._clock(), key=self._key)
        # The event is durable already: a head that cannot be written stays older, which is no loss.
        with suppress(OSError):
            write_whole(self.home.head, encode(head), mode=0o644)

    def _check_own_head(self) -> None:
        """Refuse a store that is older than the head that lies beside it."""
        state = self.state()
        if not self.home.head.exists():
            return
        head = read_head(self.home.head)
        there = self._store.read(head.seq - 1, 1) if head.seq else []
        if not check_head(head, [self._public]) or not there or (there[0].seq, there[0].hash) != (head.seq, head.hash):
            raise Corrupt(
                f"the registry ends at event {state.seq}, its signed head says {head.seq}",
                "run `penstock verify`; if you restored a backup on purpose, remove head.json",
                where="head.json",
            )
