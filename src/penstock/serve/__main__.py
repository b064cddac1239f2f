"""Stage 4, serve: `python -m penstock.serve`, the data plane's whole command line.

With ``--run-dir`` it follows the snapshot that a control plane writes there; with ``--package`` it serves one
package and nothing else. It refuses an address that others can reach unless a front is declared, and then every
request needs a token.
"""

from __future__ import annotations

import argparse
import ipaddress
import sys
import tempfile
import time
from pathlib import Path

from penstock.access.tokens import token_sha256
from penstock.errors import BadConfig, PenstockError
from penstock.packages.digests import named, sha256_bytes
from penstock.packages.manifest import MANIFEST, read_manifest
from penstock.records import Grant, Limits, Route, Snapshot, Variant, encode
from penstock.serve.snapshots import FILE, write_whole
from penstock.serve.supervisor import Supervisor, SupervisorOptions, listen


def main(arguments: list[str] | None = None) -> int:
    """Run the data plane; 0 after a drain, 1 where the options are refused."""
    options = _parser().parse_args(arguments)
    try:
        loopback = _check_address(options.host, options.behind)
        with tempfile.TemporaryDirectory(prefix="penstock-") as scratch:
            _choose_source(options, scratch)
            _run(options, loopback=loopback)
    except (PenstockError, OSError) as error:
        print(f"penstock serve: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("penstock.serve", description="Answer predictions from a package or a snapshot.")
    parser.add_argument("--package", default="", help="folder of the one package to serve")
    parser.add_argument("--name", default="", help="name of its endpoint; the model's where not given")
    parser.add_argument("--run-dir", default="", help="folder of snapshot.json and the workers' status files")
    parser.add_argument("--log-dir", default="", help="folder of the inference journal; nothing is recorded without")
    parser.add_argument("--environments", default="", help="folder of environments of sandboxed models")
    parser.add_argument("--keys", default="", help="PEM file of the public key that packages must be signed with")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--spares", type=int, default=1, choices=(0, 1), help="workers kept loaded for a quick start")
    parser.add_argument("--behind", default="", choices=("", "proxy"), help="a front that ends TLS stands before it")
    parser.add_argument("--token-file", default="", help="file of the token that --package asks for")
    parser.add_argument("--watchdog-s", type=float, default=10.0, help="replace a worker that is stuck for so long")
    parser.add_argument("--grace-s", type=float, default=30.0, help="longest drain")
    return parser


def _check_address(host: str, behind: str) -> bool:
    """Whether the address is loopback and nobody else stands before it.

    Raises:
        BadConfig: Others can reach it and no front was declared.
    """
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise BadConfig("the host is not an address", "give 127.0.0.1, ::1 or another address") from None
    if not loopback and not behind:
        raise BadConfig(
            "others can reach this address, and what they send would not be encrypted",
            "serve on 127.0.0.1, or put a front that ends TLS before it and say --behind proxy",
            code="serve.unsafe_address",
        )
    return loopback and not behind


def _choose_source(options: argparse.Namespace, scratch: str) -> None:
    """A package of its own, or the snapshots in a folder.

    Raises:
        BadConfig: Neither was given.
    """
    if options.package:
        options.run_dir = options.run_dir or scratch
        _write_snapshot(options)
    elif not options.run_dir:
        raise BadConfig("there is nothing to serve", "give --package or --run-dir")


def _write_snapshot(options: argparse.Namespace) -> None:
    """The snapshot of one package, all traffic its own."""
    folder = Path(options.package).resolve()
    manifest = read_manifest(folder)
    digest = named(sha256_bytes((folder / MANIFEST).read_bytes()))
    variant = Variant(name="stable", model=manifest.name, version=1, digest=digest)
    grants: tuple[Grant, ...] = ()
    if options.token_file:
        hashed = token_sha256(Path(options.token_file).read_text().strip())
        grants = (Grant(token_sha256=hashed, subject="token-file", permissions=("predict", "read")),)
    route = Route(
        endpoint=options.name or manifest.name,
        release=1,
        variants=(variant,),
        public=not grants,
        limits=Limits(log="normal" if options.log_dir else "off"),
    )
    snapshot = Snapshot(
        number=1, routes=(route,), packages={digest: str(folder)}, grants=grants, written_at=time.time()
    )
    write_whole(Path(options.run_dir) / FILE, encode(snapshot))


def _run(options: argparse.Namespace, *, loopback: bool) -> None:
    listening = listen("127.0.0.1" if options.host == "localhost" else options.host, options.port)
    host, port = listening.getsockname()[:2]
    print(f"serving on http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
    worker: dict[str, str | float | bool] = {
        "run": options.run_dir,
        "log": options.log_dir,
        "key": options.keys,
        "environments": options.environments,
        "loopback": loopback,
    }
    settings = SupervisorOptions(
        run=options.run_dir,
        host=host,
        port=port,
        workers=options.workers,
        spares=options.spares,
        watchdog_s=options.watchdog_s,
        grace_s=options.grace_s,
        worker=worker,
    )
    Supervisor(settings, listening).run()


if __name__ == "__main__":
    sys.exit(main())
