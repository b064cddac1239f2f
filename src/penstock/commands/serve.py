"""`penstock serve`: one package answers, with no control plane; the process becomes the data plane itself."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from penstock.app.opening import open_app
from penstock.commands.screen import DEFAULT_HOME, As, Home, Json, answering, show
from penstock.packages.keyring import TRUSTED
from penstock.packages.manifest import MANIFEST

MODULE = "penstock.serve"


def run(
    package: Annotated[
        str, typer.Argument(help="A package's folder, or NAME, NAME@3 or NAME@champion of a home.")
    ] = "",
    models: Annotated[list[Path] | None, typer.Option(help="Endpoints may be added from below this folder.")] = None,
    name: Annotated[str, typer.Option(help="Its endpoint; the model's name by default.")] = "",
    host: Annotated[str, typer.Option(help="Address to listen on; 127.0.0.1, or as the platform wants.")] = "",
    port: Annotated[int, typer.Option(min=-1, max=65535, help="0 takes a free one; -1: the platform's, or 0.")] = -1,
    grpc_port: Annotated[int, typer.Option(min=-1, max=65535, help="The same for gRPC; -1 for none.")] = 0,
    more_ports: Annotated[str, typer.Option(help="Further HTTP ports, with commas between.")] = "",
    jobs_dir: Annotated[Path | None, typer.Option(help="Where requests wait that are answered later.")] = None,
    compat: Annotated[str, typer.Option(help="Whose answers where servers differ: triton, kserve, mlserver.")] = "",
    unix_socket: Annotated[Path | None, typer.Option(help="Path of a socket for HTTP from this user alone.")] = None,
    workers: Annotated[int, typer.Option(min=0, max=256, help="Processes that answer; 0: one a usable processor.")] = 0,
    behind: Annotated[str, typer.Option(help="proxy: a front that ends TLS; platform: one that knows who asks.")] = "",
    token_file: Annotated[Path | None, typer.Option(help="File of the token that callers must send.")] = None,
    torchserve_keys: Annotated[
        bool, typer.Option("--torchserve-keys", help="Ask for keys as TorchServe does.")
    ] = False,
    log_dir: Annotated[Path | None, typer.Option(help="Where predictions are recorded; nowhere by default.")] = None,
    environments: Annotated[Path | None, typer.Option(help="Where environments of models' own are kept.")] = None,
    allow: Annotated[str, typer.Option(help="load,share: what callers may do beside asking.")] = "",
    provider: Annotated[
        list[str] | None,
        typer.Option(help="What runs its graph, rather than what it was packaged for; again for the next."),
    ] = None,
    allow_cpu: Annotated[
        bool, typer.Option("--allow-cpu", help="Falling back from them to the processor is no error.")
    ] = False,
    home: Home = DEFAULT_HOME,
    token: As = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, run nothing.")] = False,
    json: Json = False,
) -> None:
    """Answer predictions from one package until told to stop; SIGTERM finishes what is held first.

    Without a package it serves what the environment of SageMaker or Vertex AI names, or what is added at run time.

    Example: penstock serve churn@1 --port 8471
    """
    with answering(json=json):
        command = [sys.executable, "-m", MODULE, "--port", str(port), "--grpc-port", str(grpc_port)]
        command += ["--workers", str(workers)]
        command += ["--torchserve-keys"] if torchserve_keys else []
        command += _source(package, home, token) if package else []
        command += [word for folder in models or [] for word in ("--models", str(folder))]
        command += [word for name in provider or [] for word in ("--provider", name)]
        command += ["--allow-cpu"] if allow_cpu else []
        places = {
            "--host": host,
            "--name": name,
            "--more-ports": more_ports,
            "--jobs-dir": jobs_dir,
            "--compat": compat,
            "--unix-socket": unix_socket,
            "--behind": behind,
            "--token-file": token_file,
            "--log-dir": log_dir,
            "--environments": environments,
            "--allow": allow,
        }
        command += [str(word) for pair in places.items() if pair[1] for word in pair]
        if dry_run:
            show({"command": command}, json=json, text=lambda: typer.echo(" ".join(command)))
            return
        sys.stdout.flush()
        os.execv(command[0], command)  # noqa: S606 (a shell is just what it must not pass through)


def _source(package: str, home: Path, token: str) -> list[str]:
    """Where the package lies, and whose signature it must bear: a key's that the home's chain trusts.

    Raises:
        NotFound: It is neither a package's folder nor a version of the home.
    """
    if (Path(package) / MANIFEST).is_file():
        return ["--package", package]
    app = open_app(home, token=token)
    known = app.resolve(package)
    folder = app.registry.packages.path(known.version.digest)
    return [
        "--package",
        str(folder),
        "--keys",
        str(app.home / "keys" / TRUSTED),
        "--environments",
        str(app.home / "environments"),
    ]
