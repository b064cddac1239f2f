"""Stage 4, serve: `python -m penstock.serve`, the data plane's whole command line.

With ``--run-dir`` it follows the snapshot that a control plane writes there; with ``--package`` it serves one
package and nothing else; with ``--models`` endpoints come and go at run time. It refuses an address that others can
reach unless a front is declared: behind a proxy every request needs a token, a platform has asked for it already.
Started with nothing to serve it looks whether a platform's environment says what (`penstock.serve.platforms`).
"""

from __future__ import annotations

import argparse
import gc
import ipaddress
import os
import sys
from importlib import import_module

from penstock.errors import BadConfig, PenstockError
from penstock.serve.platforms import Hosting, hosting

PLANE = "penstock.serve.plane"
COMPAT = ("strict", "triton", "kserve", "mlserver")
_BEHIND = "proxy: a front that ends TLS stands before it; platform: one that also lets through only whom it knows"


def main(arguments: list[str] | None = None) -> int:
    """Run the data plane; 0 after a drain, 1 where the options are refused."""
    options = _parser().parse_args(arguments)
    try:
        _look_around(options)
        loopback = _check_address(options.host, options.behind)
        # What is imported stays; the supervisor turns the collector on again when all of it is there.
        gc.disable()
        # Workers run one thread each, and it is read when numpy is imported: a second thread forbids to fork.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        import_module(PLANE).run(options, loopback=loopback)
    except (PenstockError, OSError) as error:
        print(f"penstock serve: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("penstock.serve", description="Answer predictions from a package or a snapshot.")
    parser.add_argument("serve", nargs="?", choices=("serve",), help="what platforms start an image with")
    parser.add_argument("--package", default="", help="folder of the one package to serve")
    parser.add_argument("--name", default="", help="name of its endpoint; the model's where not given")
    parser.add_argument("--models", action="append", default=[], help="endpoints may be added from below this folder")
    parser.add_argument("--run-dir", default="", help="folder of snapshot.json and the workers' status files")
    parser.add_argument("--log-dir", default="", help="folder of the inference journal; nothing is recorded without")
    parser.add_argument("--environments", default="", help="folder of environments of sandboxed models")
    parser.add_argument("--keys", default="", help="PEM file of the public key that packages must be signed with")
    parser.add_argument("--host", default="", help="127.0.0.1 where not given")
    parser.add_argument("--port", type=int, default=-1, help="0 takes a free one, and so does none")
    parser.add_argument("--grpc-port", type=int, default=-1, help="0 takes a free one; no gRPC without")
    parser.add_argument("--more-ports", type=_ports, default=(), help="further HTTP ports, with commas between")
    parser.add_argument("--jobs-dir", default="", help="requests that are answered later; the run folder's own")
    parser.add_argument("--compat", default="strict", choices=COMPAT, help="whose answers where servers of V2 differ")
    parser.add_argument("--unix-socket", default="", help="path of a socket for HTTP from this user alone")
    parser.add_argument("--workers", type=int, default=0, help="0 takes one for each usable processor")
    parser.add_argument("--spares", type=int, default=1, choices=(0, 1), help="workers kept loaded for a quick start")
    parser.add_argument("--behind", default="", choices=("", "proxy", "platform"), help=_BEHIND)
    parser.add_argument("--token-file", default="", help="file of the token that --package asks for")
    parser.add_argument("--torchserve-keys", action="store_true", help="ask for keys as TorchServe does, of one hour")
    parser.add_argument("--allow", default="", help="load,share: what callers need no permission for on public routes")
    parser.add_argument("--strict-readiness", action="store_true", help="not ready while an endpoint is unloaded")
    parser.add_argument("--no-rows", default="refuse", choices=("refuse", "answer"), help="what --package does")
    parser.add_argument(
        "--provider", action="append", default=[], help="what runs --package's graph; again for the next"
    )
    parser.add_argument("--allow-cpu", action="store_true", help="falling back to the processor is no error")
    parser.add_argument("--nan", default="null", choices=("null", "token"), help="how --package says NaN in JSON")
    parser.add_argument("--watchdog-s", type=float, default=10.0, help="replace a worker that is stuck for so long")
    parser.add_argument("--grace-s", type=float, default=30.0, help="longest drain")
    return parser


def _ports(text: str) -> tuple[int, ...]:
    """Numbers with commas between."""
    return tuple(int(word) for word in text.split(",") if word.strip())


def _look_around(options: argparse.Namespace) -> None:
    """Fill in what was not said: as the platform's environment says, or as usual.

    Raises:
        BadConfig: The environment says something that cannot be.
    """
    said = options.models or options.run_dir
    found = None if said else hosting(os.environ, given=bool(options.package))
    options.platform = ""
    if found:
        options.package = options.package or found.package
        options.models = [found.models] if found.models else []
        options.allow = options.allow or ("load" if found.models else "")
        # Who chose an address of this machine alone needs nobody who asks.
        if found.knows or not options.host:
            options.behind = options.behind or _front(found, asks=bool(options.token_file or options.torchserve_keys))
        options.host = options.host or "0.0.0.0"  # noqa: S104 (the platform's own front is all that reaches it)
        options.port = found.port if options.port < 0 else options.port
        options.platform = found.platform if options.behind == "platform" else ""
    options.host = options.host or "127.0.0.1"
    options.port = max(options.port, 0)


def _front(found: Hosting, *, asks: bool) -> str:
    """What stands before it, where nobody said it.

    Raises:
        BadConfig: Nobody would ask who it is.
    """
    if not found.knows and not asks:
        raise BadConfig(
            f"{found.platform} or Knative runs this, and nobody says who may ask",
            "give --token-file, or say --behind platform where the front lets through only whom it knows "
            "(Cloud Run with authentication required)",
            code="serve.unasked",
        )
    return "platform" if found.knows else "proxy"


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


if __name__ == "__main__":
    sys.exit(main())
