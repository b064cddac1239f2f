"""Where an artifact stands in somebody's registry: ``oci://HOST[:PORT]/REPOSITORY[:TAG][@sha256:HEX]``.

What comes in: what a person typed. What goes out: its parts, each in the only form that the distribution API takes,
so that none of them can become another path, host or header.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

from penstock.errors import InvalidInput

SCHEME = "oci://"
LATEST = "latest"
"""The tag that every client means where none is named."""
_FORM = "write it as oci://HOST[:PORT]/REPOSITORY[:TAG] or oci://HOST/REPOSITORY@sha256:<64 hex digits>"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\Z")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"(?=.{{1,255}}\Z){_PART}(?:/{_PART})*\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")


class OciReference(NamedTuple):
    """The parts of a reference.

    Attributes:
        host: A name, or an address; an IPv6 address without its brackets.
        port: 0 where none was given.
        tag: Empty where none was given.
        digest: Of the artifact's manifest, ``sha256:<hex>``; empty where none was given.
    """

    host: str
    port: int
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        tag, digest = (self.tag and f":{self.tag}"), (self.digest and f"@{self.digest}")
        return f"{SCHEME}{self.registry}/{self.repository}{tag}{digest}"

    @property
    def registry(self) -> str:
        """``HOST[:PORT]``, as other clients write it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" if self.port else host

    @property
    def pinned(self) -> str:
        """What the manifest is asked for by: the digest before the tag, and the usual tag without either."""
        return self.digest or self.tag or LATEST


def parse_reference(text: str) -> OciReference:
    """The parts of what was typed.

    Raises:
        InvalidInput: It is no reference; `where` names the part.
    """
    if not text.startswith(SCHEME):
        raise _refusal("scheme")
    place, slash, path = text.removeprefix(SCHEME).partition("/")
    host, port = _host(place)
    path, at, digest = path.partition("@")
    if not slash or (at and not _DIGEST.match(digest)):
        raise _refusal("digest" if slash else "repository")
    repository, colon, tag = path.partition(":")
    if not _REPOSITORY.match(repository):
        raise _refusal("repository")
    if colon and not _TAG.match(tag):
        raise _refusal("tag")
    return OciReference(host, port, repository, tag, digest)


def _host(place: str) -> tuple[str, int]:
    """Host and port."""
    bracketed = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::(.*))?", place)
    if bracketed:
        host, port, named = bracketed[1], bracketed[2], bracketed[2] is not None
        if not _is_address(host):
            raise _refusal("host")
    else:
        host, colon, port = place.partition(":")
        named = bool(colon)
        if not _HOST.match(host):
            raise _refusal("host")
    if not named:
        return host, 0
    if not re.fullmatch(r"[1-9][0-9]{0,4}", port, re.ASCII) or int(port) > 65535:
        raise _refusal("port")
    return host, int(port)


def _is_address(host: str) -> bool:
    try:
        return bool(ipaddress.IPv6Address(host))
    except ValueError:
        return False


def _refusal(where: str) -> InvalidInput:
    return InvalidInput("this is no place in a registry", _FORM, where=where, code="oci.reference")
