"""What the data plane is told, and what its workers say of themselves."""

from __future__ import annotations

from penstock.records.record import Record
from penstock.records.release import Limits, Variant


class Grant(Record, frozen=True, kw_only=True):
    """A token as the data plane knows it: its hash, whose it is, and what it may do.

    Attributes:
        token_sha256: Hex digest of the token; the token itself is nowhere on disk but with its owner.
        permissions: Names such as ``predict``.
        endpoints: Empty means all.
        expires_at: 0 means never.
        rate_per_s: Requests for predictions a second that its subject may send, to all workers; 0 means no limit.
        burst: How many of them may come at once.
    """

    token_sha256: str
    subject: str
    permissions: tuple[str, ...]
    endpoints: tuple[str, ...] = ()
    expires_at: float = 0.0
    rate_per_s: float = 0.0
    burst: int = 1


class Route(Record, frozen=True, kw_only=True):
    """One endpoint as the data plane serves it.

    Attributes:
        variants: Answering variants first, in the order their shares are laid out; then shadows.
        warm: Digests kept loaded beside them, ready to be switched to.
        salt: Mixed into the hash of the routing key; the same for the whole of a rollout.
        public: On loopback, predictions need no token.
        source: Where it was taken from at run time, as its caller wrote it; empty where it comes with a release.
    """

    endpoint: str
    release: int
    variants: tuple[Variant, ...]
    warm: tuple[str, ...] = ()
    salt: str = ""
    limits: Limits = Limits()
    thresholds: dict[str, float] = {}
    public: bool = True
    source: str = ""


class Snapshot(Record, frozen=True, kw_only=True):
    """All the data plane needs beside package folders; written atomically, numbered upward."""

    number: int
    routes: tuple[Route, ...] = ()
    packages: dict[str, str] = {}
    """Digest -> folder, for every digest the routes name."""
    grants: tuple[Grant, ...] = ()
    written_at: float = 0.0


class WorkerStatus(Record, frozen=True, kw_only=True):
    """What one worker says of itself, in a file of its own, after every change.

    Attributes:
        snapshot: Number of the snapshot whose routes it answers by.
        ready: Digests loaded, warmed, and right on their golden examples.
        failed: Digest -> why it could not be made ready.
        codes: Digest -> the error's code, where it has one.
        draining: It answers what it holds and takes nothing new.
        resting: Number of the file of unloaded endpoints that it goes by.
        needs: Digest -> bytes of memory that the package was measured to take.
        troubles: Digest -> why a loaded package does not answer just now.
    """

    worker: int
    pid: int
    snapshot: int
    ready: tuple[str, ...] = ()
    failed: dict[str, str] = {}
    codes: dict[str, str] = {}
    draining: bool = False
    at: float = 0.0
    resting: int = 0
    needs: dict[str, int] = {}
    troubles: dict[str, str] = {}
