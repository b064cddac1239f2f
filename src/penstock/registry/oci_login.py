"""Who one is to somebody's registry: name and password as they are kept here, and what the registry asks for.

environment, or Docker's config.json -> OciLogin          401 + WWW-Authenticate -> OciChallenge
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

import msgspec

from penstock.errors import BadConfig
from penstock.registry.oci_reference import OciReference

USER, PASSWORD = "PENSTOCK_OCI_USER", "PENSTOCK_OCI_PASSWORD"
DOCKER_HUB = "docker.io"
_HUB_KEY = "https://index.docker.io/v1/"
_MAX_CONFIG_BYTES = 1 << 20
_PARAMETER = re.compile(r'([A-Za-z_]+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))')


class OciLogin(NamedTuple):
    """A name and its password; both empty for nobody."""

    user: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return f"OciLogin(user={self.user!r})"

    @property
    def basic(self) -> str:
        """The header's value."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


class OciChallenge(NamedTuple):
    """What a registry wants to see: a password (``basic``), or a token of `realm` (``bearer``)."""

    scheme: str
    realm: str = ""
    service: str = ""
    scope: str = ""

    def url(self, scope: str) -> str:
        """Where the token is asked for.

        Args:
            scope: What it is for, where the registry did not say.
        """
        asked = {"service": self.service} if self.service else {}
        query = urlencode(asked | {"scope": self.scope or scope})
        return f"{self.realm}{'&' if '?' in self.realm else '?'}{query}"


class _Auth(msgspec.Struct):
    """One entry of Docker's file."""

    auth: str = ""


class _DockerConfig(msgspec.Struct):
    """What is read of Docker's file."""

    auths: dict[str, _Auth] = {}


def find_login(reference: OciReference, environment: Mapping[str, str]) -> OciLogin:
    """Name and password for a registry: from the environment, else as ``docker login`` left them, else nobody's.

    Raises:
        BadConfig: One of the two variables is missing, or Docker's file is damaged.
    """
    user, password = environment.get(USER, ""), environment.get(PASSWORD, "")
    if user or password:
        if not (user and password):
            raise BadConfig("only one of the two variables is set", f"set both {USER} and {PASSWORD}", code="oci.login")
        return OciLogin(user, password)
    home = environment.get("HOME", "")
    folder = environment.get("DOCKER_CONFIG", "") or (f"{home}/.docker" if home else "")
    return _from_docker(Path(folder) / "config.json", reference.registry) if folder else OciLogin()


def read_challenge(header: str) -> OciChallenge | None:
    """What is asked for; None for what is understood by nobody here."""
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() == "basic":
        return OciChallenge("basic")
    said = {name.lower(): quoted or plain for name, quoted, plain in _PARAMETER.findall(rest)}
    if scheme.lower() != "bearer" or not said.get("realm"):
        return None
    return OciChallenge("bearer", said["realm"], said.get("service", ""), said.get("scope", ""))


def _from_docker(path: Path, registry: str) -> OciLogin:
    """What ``docker login`` keeps for a registry; programs that it names as keepers of passwords are not run."""
    try:
        with path.open("rb") as file:
            found = msgspec.json.decode(file.read(_MAX_CONFIG_BYTES), type=_DockerConfig).auths
    except OSError:
        return OciLogin()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadConfig(
            "Docker's file of logins is damaged", "log in again", where=path.name, code="oci.login"
        ) from error
    names = [registry, f"https://{registry}", f"https://{registry}/", f"http://{registry}"]
    names += [f"https://{registry}/v1/", f"https://{registry}/v2/"]
    names += [_HUB_KEY] if registry == DOCKER_HUB else []
    auth = next((found[name].auth for name in names if name in found), "")
    try:
        user, colon, password = base64.b64decode(auth, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise BadConfig(
            "Docker's file of logins is damaged", "log in again", where=path.name, code="oci.login"
        ) from error
    return OciLogin(user, password.rstrip("\0")) if colon else OciLogin()
