"""Stage 4, serve: a package that answers calls in this process: no socket, no supervisor, no other process.

    folder -> open_package (signature, digests) -> engine -> golden examples answered right -> Handler
    call, from any thread --> its event loop, on a thread of its own: the server's Flow --> Reply

Functions, scoring scripts and tests ask it what clients ask the server, in every dialect. The event loop, the counters
and whatever else must not be shared or copied are made at the first call, so that a process may be forked, or its
memory kept and restored, between opening the package and answering.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from time import perf_counter
from urllib.parse import unquote

import msgspec

from penstock.access.tokens import token_sha256
from penstock.adapters import TABLE, load
from penstock.errors import InvalidInput, PenstockError
from penstock.packages.manifest import model_bytes
from penstock.packages.publickey import load_public_key
from penstock.packages.read import Package, open_package
from penstock.records import Grant, Limits, Manifest, Route, Snapshot, Variant
from penstock.runtime.engine import open_engine, prove
from penstock.runtime.memory import require
from penstock.serve.answerloop import AnswerLoop, Opened
from penstock.serve.board import PREDICT, READ
from penstock.serve.calls import QUERY, Call, Reply
from penstock.serve.dialects import Dialects
from penstock.serve.encodings import decompressed
from penstock.serve.listeners.limits import HttpLimits
from penstock.serve.models import background_of
from penstock.serve.pace import measure
from penstock.serve.protocol import Manner
from penstock.serve.refusals import refuse

_LINE_END = re.compile(rb"[\r\n\0]")


class HandlerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a handler answers.

    Attributes:
        name: Of the endpoint; empty takes the model's.
        version: As answers say it.
        digest: The package that it has to be, ``sha256:<hex>``; empty takes any.
        key: PEM file of who may have signed it; None takes an unsigned one.
        environments: Where environments of sandboxed models are kept; None means none.
        token: What callers must send; empty lets in whoever the platform lets in.
        log: Folder of the inference journal; None records nothing.
        limits: What its endpoint is held to.
        body_bytes: Of a body, as sent and unpacked.
        environment: Environment variables that dialects go by.
    """

    name: str = ""
    version: int = 1
    digest: str = ""
    key: Path | None = None
    environments: Path | None = None
    token: str = ""
    log: Path | None = None
    limits: Limits = Limits()
    body_bytes: int = HttpLimits().body_bytes
    environment: Mapping[str, str] = {}


class Handler:
    """Answers calls by one package.

    Args:
        folder: The package.
        options: How.

    Raises:
        Untrusted: It is not the package, or not signed, as `options` want it.
        ModelFailed: It does not load, or does not answer its golden examples as it did where it was made.
        NotReady: It does not fit into memory.
        BadConfig: Its engine is not installed.
    """

    def __init__(self, folder: Path, options: HandlerOptions | None = None) -> None:
        self.options = options or HandlerOptions()
        self._folder = folder
        self._opened = _open(folder, self.options)
        self._opener = os.getpid()
        load("protocol", next(iter(TABLE["protocol"])))
        for kind in ("inline", "thread"):
            load("lane", kind)
        self._lock = threading.Lock()
        self._loop: AnswerLoop | None = None

    @property
    def manifest(self) -> Manifest:
        """What the package says of itself."""
        return self._opened.package.manifest

    @property
    def endpoint(self) -> str:
        """Its name in paths."""
        return self.options.name or self.manifest.name

    def ask(
        self,
        method: str,
        target: str,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        within_s: float = 0.0,
    ) -> Reply:
        """Answer an HTTP request as the server would.

        Args:
            method: Of the request.
            target: Path and query, percent-encoded.
            headers: Names in any case; of a name that comes more than once the values are joined.
            body: As sent, compressed where the headers say so.
            within_s: Time until an answer is of no use any more; 0 goes by the request and the endpoint alone.
        """
        path, mark, query = target.partition("?")
        try:
            found = _joined(headers)
            if mark:
                found[QUERY] = query.encode("ascii", "replace")
            if b"content-encoding" in found:
                body = decompressed(body, found[b"content-encoding"], self.options.body_bytes)
            if len(body) > self.options.body_bytes:
                raise _too_large(self.options.body_bytes)
        except PenstockError as error:
            return refuse(error)
        call = Call(method.upper(), unquote(path), found, body, time.time(), perf_counter())
        return self.handle(call, within_s=within_s)

    def handle(self, call: Call, *, within_s: float = 0.0) -> Reply:
        """Answer a call; from any thread, several at once, never from the handler's own.

        Args:
            call: Decoded from whatever carried it.
            within_s: As in `ask`.
        """
        loop = self._loop
        if loop is None or loop.process != os.getpid():
            loop = self._enter()
        return loop.ask(_hurried(call, within_s), within_s)

    def close(self) -> None:
        """Let go of the model, the event loop and its files; more than once is harmless."""
        loop, self._loop = self._loop, None
        if loop is not None and loop.process == os.getpid():
            loop.close()
        self._opened.engine.close()

    def _enter(self) -> AnswerLoop:
        """The event loop of this process; a compiled graph lives through a fork, another engine is opened anew."""
        with self._lock:
            loop = self._loop
            if loop is None or loop.process != os.getpid():
                if self._opener != os.getpid() and not self._opened.engine.inline:
                    self._opened, self._opener = _open(self._folder, self.options), os.getpid()
                protocols = Dialects(Manner(environment=self.options.environment))
                snapshot = _snapshot(self._opened.package, self.options)
                loop = self._loop = AnswerLoop(self._opened, snapshot, protocols, self.options.log)
            return loop


def _open(folder: Path, options: HandlerOptions) -> Opened:
    """Verify, load and prove; one row is timed, because whoever starts this process waits for its first answer."""
    keys = [load_public_key(options.key)] if options.key else None
    package = open_package(folder, keys=keys, digest=options.digest or None)
    manifest = package.manifest
    require(model_bytes(manifest), manifest.name, known=False)
    engine = open_engine(package, environments=options.environments)
    try:
        prove(engine, package)
        inputs = {name: array[:1] for name, array in package.golden().inputs.items()}
        pace = measure(lambda _: engine.run(inputs), within_s=0.0, most=1)
        return Opened(package, engine, pace, background_of(package))
    except BaseException:
        engine.close()
        raise


def _snapshot(package: Package, options: HandlerOptions) -> Snapshot:
    """All traffic to the one package."""
    manifest = package.manifest
    variant = Variant(name="stable", model=manifest.name, version=options.version, digest=package.digest)
    grants: tuple[Grant, ...] = ()
    if options.token:
        hashed = token_sha256(options.token)
        grants = (Grant(token_sha256=hashed, subject="token-file", permissions=(PREDICT, READ)),)
    limits = options.limits if options.log else msgspec.structs.replace(options.limits, log="off")
    endpoint = options.name or manifest.name
    route = Route(endpoint=endpoint, release=1, variants=(variant,), public=not grants, limits=limits)
    return Snapshot(number=1, routes=(route,), packages={package.digest: str(package.folder)}, grants=grants)


def _joined(headers: Iterable[tuple[str, str]]) -> dict[bytes, bytes]:
    """Headers as a listener gives them.

    Raises:
        InvalidInput: One has a line end in it: some are answered, and would be headers of the answer.
    """
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        key, text = name.lower().encode("latin-1", "replace"), value.encode("utf-8", "replace")
        if _LINE_END.search(text) or key[:1] == b":":
            raise InvalidInput("a header has a character that none may have", "leave it out", where="headers")
        found[key] = found[key] + b"," + text if key in found else text
    return found


def _hurried(call: Call, within_s: float) -> Call:
    """The call with the time that is left as its deadline, unless it has a nearer one, or one that is wrong."""
    given = call.headers.get(b"x-deadline-ms")
    try:
        nearer = given is not None and not float(given) > within_s * 1e3
    except ValueError:
        nearer = True
    if not within_s or nearer:
        return call
    return msgspec.structs.replace(call, headers=call.headers | {b"x-deadline-ms": b"%.3f" % (within_s * 1e3)})


def _too_large(limit: int) -> InvalidInput:
    return InvalidInput(
        f"the body is larger than {limit} bytes", "send fewer rows", code="serve.too_large", where="body"
    )
