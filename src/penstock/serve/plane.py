"""Stage 4, serve: a data plane from its options: what it serves, where it listens, its supervisor.

It is imported when the options are known to be right; what workers need is imported last, once for all of them, when
the socket is already open.
"""

from __future__ import annotations

import tempfile
import time
from argparse import Namespace
from functools import partial
from importlib import import_module
from pathlib import Path

import msgspec

from penstock.access.permissions import LOAD, SHARE
from penstock.access.tokens import token_sha256
from penstock.adapters import TABLE, load
from penstock.errors import BadConfig, Corrupt
from penstock.packages.digests import named, sha256_bytes
from penstock.packages.find import package_in
from penstock.packages.manifest import MANIFEST, read_manifest
from penstock.records import Grant, Limits, Route, Sizing, Snapshot, Variant, decode, encode
from penstock.runtime.processors import default_workers
from penstock.serve.snapshots import FILE, write_whole
from penstock.serve.sockets import Sockets, listen, listen_unix
from penstock.serve.supervisor import Supervisor, SupervisorOptions
from penstock.serve.torchkeys import write_keys

WORKER = "penstock.serve.worker"
USUAL = "onnxruntime"


def run(options: Namespace, *, loopback: bool) -> None:
    """Serve until told to stop.

    Args:
        options: The command line's.
        loopback: Only this machine can reach the address.

    Raises:
        PenstockError: There is nothing to serve, or it is no package.
        OSError: The address is taken, or a folder cannot be written.
    """
    # What ends with this process is no place for what was acknowledged.
    options.jobs_dir = options.jobs_dir or (str(Path(options.run_dir) / "jobs") if options.run_dir else "")
    with tempfile.TemporaryDirectory(prefix="penstock-") as scratch:
        engine = _choose_source(options, scratch)
        _serve(options, engine, loopback=loopback)


def _choose_source(options: Namespace, scratch: str) -> str:
    """A package of its own, or the snapshots in a folder; the name of the engine that will be needed first.

    Raises:
        BadConfig: Neither was given, or the folder is a control plane's.
    """
    if options.package:
        options.run_dir = options.run_dir or scratch
        return _write_snapshot(options)
    if options.models:
        options.run_dir = options.run_dir or scratch
        _go_on_from(options)
    elif not options.run_dir:
        raise BadConfig("there is nothing to serve", "give --package, --models or --run-dir")
    return USUAL


def _go_on_from(options: Namespace) -> None:
    """With what was enlisted in the folder before, or with nothing.

    Raises:
        BadConfig: Somebody releases to it.
    """
    path = Path(options.run_dir) / FILE
    try:
        before = decode(path.read_bytes(), Snapshot)
    except (OSError, Corrupt):
        before = Snapshot(number=0)
    if not all(route.source for route in before.routes):
        raise BadConfig(
            "a control plane releases to this run folder, and endpoints would come from two sides",
            "leave --models out, or give another --run-dir",
        )
    grants = _grants(options)
    after = Snapshot(
        number=before.number + 1,
        routes=tuple(msgspec.structs.replace(route, public=not grants) for route in before.routes),
        packages=before.packages,
        grants=grants,
        written_at=time.time(),
    )
    write_whole(path, encode(after))


def _write_snapshot(options: Namespace) -> str:
    """The snapshot of one package, all traffic its own; the name of its engine."""
    folder = package_in(Path(options.package).resolve())
    manifest = read_manifest(folder)
    digest = named(sha256_bytes((folder / MANIFEST).read_bytes()))
    variant = Variant(name="stable", model=manifest.name, version=1, digest=digest)
    grants = _grants(options)
    route = Route(
        endpoint=options.name or manifest.name,
        release=1,
        variants=(variant,),
        public=not grants,
        limits=_limits(options),
        source=options.package if options.models else "",
    )
    snapshot = Snapshot(
        number=1, routes=(route,), packages={digest: str(folder)}, grants=grants, written_at=time.time()
    )
    write_whole(Path(options.run_dir) / FILE, encode(snapshot))
    return manifest.engine


def _grants(options: Namespace) -> tuple[Grant, ...]:
    """The one token that there may be."""
    if not options.token_file:
        return ()
    hashed = token_sha256(Path(options.token_file).read_text().strip())
    permissions = ("predict", "read", *_allowed(options))
    return (Grant(token_sha256=hashed, subject="token-file", permissions=permissions),)


def _limits(options: Namespace) -> Limits:
    """Of endpoints that no release describes."""
    return Limits(
        log="normal" if options.log_dir else "off",
        no_rows=options.no_rows,
        nan=options.nan,
        sizing=Sizing(providers=tuple(options.provider), allow_cpu=options.allow_cpu),
    )


def _allowed(options: Namespace) -> tuple[str, ...]:
    """What is allowed beside asking.

    Raises:
        BadConfig: It is not one of the two that can be.
    """
    words = tuple(word.strip() for word in options.allow.split(",") if word.strip())
    if not {LOAD, SHARE}.issuperset(words):
        raise BadConfig("there is nothing of that name to allow", f"say {LOAD}, {SHARE}, or both with a comma between")
    return words


def _serve(options: Namespace, engine: str, *, loopback: bool) -> None:
    if options.torchserve_keys:
        print(f"keys in {write_keys(Path(options.run_dir))}", flush=True)
    sockets = _open(options)
    places = sockets.places()
    host = f"[{places['host']}]" if ":" in str(places["host"]) else places["host"]
    front = f" behind {options.platform}: whom its front lets through needs no token" if options.platform else ""
    print(f"serving on http://{host}:{places['port']}{front}", flush=True)
    if sockets.grpc:
        print(f"serving on grpc://{host}:{places['grpc']}", flush=True)
    # With the socket open, whoever comes waits for what is slow to import, and is not refused.
    worker = import_module(WORKER)
    load("engine", engine)
    load("lane", "inline")
    load("protocol", next(iter(TABLE["protocol"])))
    if sockets.grpc:
        load("listener", "grpc")
        for name in TABLE["service"]:
            load("service", name)
    work = worker.WorkerOptions(
        run=options.run_dir,
        log=options.log_dir,
        key=options.keys,
        environments=options.environments,
        loopback=loopback,
        allow=",".join(_allowed(options)),
        strict_readiness=options.strict_readiness,
        jobs=options.jobs_dir,
        compat=options.compat,
        fronted=options.behind == "platform",
        models=tuple(options.models),
        released=not options.package and not options.models,
        limits=_limits(options),
        torchserve_keys=options.torchserve_keys,
    )
    settings = SupervisorOptions(
        run=options.run_dir,
        workers=options.workers or default_workers(),
        spares=options.spares,
        watchdog_s=options.watchdog_s,
        grace_s=options.grace_s,
    )
    try:
        Supervisor(settings, sockets, partial(worker.live, work)).run()
    finally:
        if options.unix_socket:
            Path(options.unix_socket).unlink(missing_ok=True)


def _open(options: Namespace) -> Sockets:
    """Every socket that is wanted, before anything that takes time."""
    host = "127.0.0.1" if options.host == "localhost" else options.host
    http = listen(host, options.port)
    grpc = listen(host, options.grpc_port) if options.grpc_port >= 0 else None
    unix = listen_unix(Path(options.unix_socket)) if options.unix_socket else None
    return Sockets(http, grpc, unix, tuple(listen(host, port) for port in options.more_ports))
