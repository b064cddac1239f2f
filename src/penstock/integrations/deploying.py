"""The two places that MLflow's plugin deploys to: a home with its control plane, or a data plane at an address.

    Home   package -> check -> release, by the `penstock` command (of another environment, if that has it)
    Plane  a package's folder that the server can read too, added and removed at run time

Comes in: what MLflow's client was asked for. Goes out: plain dictionaries, or our errors, which the plugin translates.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shlex
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from penstock.errors import Conflict, Forbidden, InvalidInput, NotFound, PenstockError
from penstock.integrations.mlmodel import FoundModel

Answer = dict[str, object]
COMMAND, HOME, TOKEN = "PENSTOCK_COMMAND", "PENSTOCK_HOME", "PENSTOCK_TOKEN"
WAIT_S = 120.0
LABELS = ("data", "label")


class Place(Protocol):
    """Where deployments live."""

    def create(self, name: str, model: FoundModel, config: Mapping[str, str]) -> Answer:
        """Have it answer under a new name."""

    def update(self, name: str, model: FoundModel, config: Mapping[str, str]) -> Answer:
        """Have it answer under a name that is there."""

    def delete(self, name: str) -> None:
        """Have it answer no more."""

    def listed(self) -> list[Answer]:
        """What answers."""

    def ask(self, method: str, path: str, body: object = None) -> object:
        """One request to what answers."""


def place_of(target: str) -> Place:
    """A home, or the data plane at an address: ``penstock``, ``penstock:FOLDER``, ``penstock:http://HOST:PORT``."""
    rest = target.partition(":")[2]
    if rest.startswith(("http://", "https://")):
        return PlanePlace(rest.rstrip("/"), os.environ.get(TOKEN, ""))
    return HomePlace(Path(rest or os.environ.get(HOME, ".penstock")))


class PlanePlace:
    """A data plane that endpoints may be added to (``penstock serve --models``).

    Args:
        url: Where it listens.
        token: Sent with each request; empty sends none.
    """

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._token = token

    def create(self, name: str, model: FoundModel, config: Mapping[str, str]) -> Answer:
        """Add it; the folder must be one that the server may read from."""
        _known(config, ())
        if model.flavor != "penstock":
            raise InvalidInput(
                "a data plane takes packages alone", "package the model first, or deploy to a home", where="model_uri"
            )
        path = str(model.path.absolute())
        query = f"model_name={quote(name, safe='')}&url={quote(path, safe='')}"
        # Both dialects that add models read what they know of it: TorchServe's the query, SageMaker's the body.
        self.ask("POST", f"/models?{query}", {"model_name": name, "url": path})
        return {"name": name, "flavor": model.flavor, "url": self._url}

    def update(self, name: str, model: FoundModel, config: Mapping[str, str]) -> Answer:
        """Take the old one away, then add the new one: between the two nothing answers."""
        self.delete(name)
        return self.create(name, model, config)

    def delete(self, name: str) -> None:
        """Remove it."""
        self.ask("DELETE", f"/models/{quote(name, safe='')}")

    def listed(self) -> list[Answer]:
        """What it serves."""
        found = self.ask("GET", "/v2/models")
        names = found.get("models", []) if isinstance(found, dict) else []
        return [{"name": name, "url": self._url} for name in names]

    def ask(self, method: str, path: str, body: object = None) -> object:
        """One request.

        Raises:
            PenstockError: As the server refused it, by its status.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(self._url + path, data, headers, method=method)  # noqa: S310 (http or https)
        try:
            with urllib.request.urlopen(request, timeout=WAIT_S) as answer:  # noqa: S310
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise _refused(error.code, error.read().decode("utf-8", "replace")) from None
        except OSError as error:
            raise NotFound(f"nothing answers at {self._url}", str(error), code="integrations.no_server") from None


class HomePlace:
    """A home: its registry, its gate, its releases.

    Args:
        home: The folder.
    """

    def __init__(self, home: Path) -> None:
        self._home = home.absolute()

    def create(self, name: str, model: FoundModel, config: Mapping[str, str]) -> Answer:
        """Package, ask the gate, release."""
        if any(one["name"] == name for one in self.listed()):
            raise Conflict("there is a deployment of that name", "update it", code="integrations.exists")
        return self._release(name, model, config)

    def update(self, name: str, model: FoundModel, config: Mapping[str, str]) -> Answer:
        """The same, to an endpoint that answers already."""
        self._existing(name)
        return self._release(name, model, config)

    def delete(self, name: str) -> None:
        """Take it out of memory until its next release: what was released stays written down."""
        self._existing(name)
        self.ask("POST", f"/v2/repository/models/{quote(name, safe='')}/unload")

    def listed(self) -> list[Answer]:
        """Every endpoint, as `penstock status` tells."""
        if not (self._home / "registry.db").exists():
            return []
        status = self._run("status")
        found = status.get("endpoints")
        return [{"name": one["endpoint"], **one} for one in found] if isinstance(found, list) else []

    def ask(self, method: str, path: str, body: object = None) -> object:
        """One request to the home's data plane, as who owns the home."""
        url = self._run("status").get("url") if (self._home / "registry.db").exists() else ""
        if not url:
            raise NotFound("no data plane is running", "create a deployment", code="integrations.no_server")
        token = self._home / "keys" / "token"
        own = token.read_text().strip() if token.is_file() else ""
        return PlanePlace(str(url), os.environ.get(TOKEN, own)).ask(method, path, body)

    def _existing(self, name: str) -> None:
        if not any(one["name"] == name for one in self.listed()):
            raise NotFound("there is no such deployment", "list them", code="integrations.no_deployment")

    def _release(self, name: str, model: FoundModel, config: Mapping[str, str]) -> Answer:
        _known(config, (*LABELS, "strategy", "break_glass"))
        if model.flavor == "penstock":
            raise InvalidInput(
                "a home packages and signs what it releases", "name the trained model, not a package", where="model_uri"
            )
        # The gate reads it again later: it stays.
        data = config.get("data") or _written(model, self._home / "examples")
        words = ["--name", name, "--data", data, "--label", config.get("label", "")]
        version = self._run("package", str(model.path), *words)
        ref = f"{name}@{version['version']}"
        extra = [word for option, key in _OPTIONS.items() if config.get(key) for word in (option, config[key])]
        if not config.get("break_glass"):
            self._run("check", ref)
        made = self._run("release", ref, "--endpoint", name, *extra)
        return {**made, "name": name, "flavor": model.flavor or "file", "version": version["version"]}

    def _run(self, *words: str) -> Answer:
        """One verb; what it answers.

        Raises:
            PenstockError: What it refused, in its own words.
        """
        said = os.environ.get(COMMAND)
        command = shlex.split(said) if said else [sys.executable, "-m", "penstock"]
        done = subprocess.run(
            [*command, *words, "--home", str(self._home), "--json"], capture_output=True, text=True, check=False
        )
        try:
            answer = json.loads((done.stdout.strip() or done.stderr.strip()).splitlines()[-1])
        except (ValueError, IndexError):
            raise PenstockError(f"penstock {words[0]} failed", done.stderr.strip()[-300:]) from None
        if done.returncode:
            raise _said_no(words[0], answer)
        return dict(answer)


_OPTIONS = {"--strategy": "strategy", "--break-glass": "break_glass"}


def _known(config: Mapping[str, str], names: tuple[str, ...]) -> None:
    for name in config:
        if name not in names:
            known = ", ".join(names) or "none"
            raise InvalidInput("there is no such setting", f"those known here are {known}", where="config")


def _written(model: FoundModel, folder: Path) -> str:
    """The example as a file that can be packaged with.

    Raises:
        InvalidInput: There is none.
    """
    if not model.example:
        raise InvalidInput(
            "there are no rows to prove the model with",
            "give -C data=FILE and -C label=COLUMN, or log the model with an input example",
            where="config",
        )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(model.columns or [str(at) for at in range(len(model.example[0]))])
    writer.writerows(["" if value is None else value for value in row] for row in model.example)
    data = text.getvalue().encode()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = folder / f"{hashlib.sha256(data).hexdigest()[:16]}.csv"
    file.write_bytes(data)
    return str(file)


def _said_no(verb: str, answer: Mapping[str, object]) -> PenstockError:
    if "message" in answer:
        return Forbidden(str(answer["message"]), str(answer.get("hint", "")), code=str(answer.get("error", "")))
    findings = answer.get("findings")
    blocking = [
        str(one["message"])
        for one in (findings if isinstance(findings, list) else [])
        if one.get("blocking") and one.get("outcome") != "pass"
    ]
    return Forbidden(f"penstock {verb}: {'; '.join(blocking) or answer.get('verdict', 'no')}", code=f"gate.{verb}")


def _refused(status: int, text: str) -> PenstockError:
    try:
        found = json.loads(text)
        message = str(found.get("message") or found.get("error") or text)
    except (ValueError, AttributeError):
        message = text
    kind = {404: NotFound, 409: Conflict, 401: Forbidden, 403: Forbidden, 400: InvalidInput}.get(status, PenstockError)
    return kind(message[:500], code=f"http.{status}")
