"""A repository in somebody's registry, by the OCI distribution API: blobs by digest, manifests by tag or digest.

    put_blob: HEAD (is it there?) -> POST -> PUT, or PATCH chunk by chunk -> PUT      get_blob: GET, checked as it comes

What comes in: blobs and where they go. What goes out: blobs whose digest and size are those that were asked for, or a
refusal. A blob that arrived is never sent again; a half one goes on where the registry kept its half.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urljoin

import msgspec

from penstock.access.files import make_folder, write_whole
from penstock.errors import Conflict, InvalidInput, NotFound, NotReady, PenstockError, Untrusted
from penstock.registry.oci_answer import OciAnswer, Sending, gone
from penstock.registry.oci_wire import TRIES, OciWire

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
MAX_MANIFEST_BYTES = 4 << 20
"""What registries take at most."""
CHUNK_BYTES = 16 << 20
_READ_BYTES = 1 << 20
_OCTETS = {"Content-Type": "application/octet-stream"}
_CODE = re.compile(r"[A-Z][A-Z_]{2,40}\Z")
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,18})\Z")

Told = Callable[[int], None]
"""Hears how many bytes of a blob have gone over so far."""


class OciBlob(NamedTuple):
    """What is sent: `open` gives so many bytes from a place on."""

    digest: str
    size: int
    open: Callable[[int, int], Iterator[bytes]]


class _Error(msgspec.Struct):
    code: str = ""


class _Errors(msgspec.Struct):
    errors: list[_Error] = []


def blob_of_file(path: Path, digest: str, size: int) -> OciBlob:
    """A file as a blob."""

    def read(start: int, length: int) -> Iterator[bytes]:
        with path.open("rb") as file:
            file.seek(start)
            while length and (chunk := file.read(min(length, _READ_BYTES))):
                length -= len(chunk)
                yield chunk

    return OciBlob(digest, size, read)


def blob_of_bytes(data: bytes) -> OciBlob:
    """Bytes as a blob."""
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return OciBlob(digest, len(data), lambda start, length: iter([data[start : start + length]]))


class OciRepository:
    """One repository.

    Args:
        wire: To its registry.
        begun: Folder in which uploads that were begun are remembered; made when it is needed.
        chunk_bytes: Blobs larger than this go over in pieces of it.
    """

    def __init__(self, wire: OciWire, *, begun: Path, chunk_bytes: int = CHUNK_BYTES) -> None:
        self._wire = wire
        self._begun = begun
        self._chunk_bytes = chunk_bytes

    def has_blob(self, digest: str) -> bool:
        """Whether the repository holds a blob."""
        with self._wire.ask("HEAD", f"{self._wire.base}blobs/{digest}") as answer:
            return _yes(answer, "the registry does not say whether it has a file")

    def put_blob(self, blob: OciBlob, told: Told = lambda done: None) -> bool:
        """Have a blob in the repository; gives whether it had to be sent.

        Raises:
            NotReady: The registry is not there, or not now; what arrived need not be sent again.
            Untrusted: It refuses the bytes as other ones than they are.
        """
        if self.has_blob(blob.digest):
            return False
        memory = self._begun / hashlib.sha256(f"{self._wire.base}{blob.digest}".encode()).hexdigest()
        url, done = self._resumed(memory)
        for attempt in range(1, TRIES + 1):
            try:
                url = url or self._new_upload()
                self._send(blob, url, done, memory, told)
                break
            except (NotReady, Conflict):
                if self.has_blob(blob.digest):
                    break
                if attempt == TRIES:
                    raise
                url, done = self._resumed(memory)
        memory.unlink(missing_ok=True)
        return True

    def get_blob(self, digest: str, size: int, place: Path, told: Told = lambda done: None) -> None:
        """Write a blob to a new file.

        Raises:
            Untrusted: It is longer, shorter or another than was said.
            NotFound: The registry does not have it.
            NotReady: It stopped answering; so often that trying again in place did not help.
        """
        whole, done = hashlib.sha256(), 0
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            for attempt in range(1, TRIES + 1):
                try:
                    for chunk in self._pieces(digest, size, done):
                        done += len(chunk)
                        if done > size:
                            raise Untrusted("a file of the artifact is longer than it says", _ASK, where=digest)
                        whole.update(chunk)
                        file.write(chunk)
                        told(done)
                    break
                except (OSError, http.client.HTTPException) as error:
                    if attempt == TRIES:
                        raise gone(error) from error
        if done != size or f"sha256:{whole.hexdigest()}" != digest:
            raise Untrusted("a file of the artifact is not what its digest says", _ASK, where=digest)

    def get_manifest(self, pinned: str) -> bytes:
        """A manifest's bytes, by tag or digest.

        Raises:
            NotFound: There is none.
            Untrusted: It is another than the digest says.
        """
        headers = {"Accept": MANIFEST_TYPE}
        url = f"{self._wire.base}manifests/{pinned}"
        with self._wire.ask("GET", url, headers=headers, expected=MAX_MANIFEST_BYTES) as answer:
            if not _yes(answer, "the registry does not give the artifact"):
                raise NotFound(
                    "the registry has no artifact of that name, tag or digest",
                    "look with skopeo list-tags",
                    code="oci.none",
                )
            try:
                data = answer.read(MAX_MANIFEST_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise gone(error) from error
        found = f"sha256:{hashlib.sha256(data).hexdigest()}"
        said = pinned if pinned.startswith("sha256:") else answer.headers.get("docker-content-digest", found)
        if said != found:
            raise Untrusted("the artifact's manifest is not what its digest says", _ASK, where="manifest")
        return data

    def digest_of(self, tag: str) -> str:
        """The digest of the manifest that a tag names; empty where there is no such tag."""
        try:
            return f"sha256:{hashlib.sha256(self.get_manifest(tag)).hexdigest()}"
        except NotFound:
            return ""

    def put_manifest(self, tag: str, data: bytes) -> None:
        """Name what was sent; only now can others see it.

        Raises:
            InvalidInput: The registry does not take it.
        """
        body = Sending(len(data), lambda: iter([data]))
        headers = {"Content-Type": MANIFEST_TYPE}
        with self._wire.ask("PUT", f"{self._wire.base}manifests/{tag}", headers=headers, body=body) as answer:
            _must(answer, 201, "the registry does not take the artifact's manifest")
            said = answer.headers.get("docker-content-digest", "")
        if said and said != f"sha256:{hashlib.sha256(data).hexdigest()}":
            raise Untrusted("the registry keeps another manifest than was sent", _ASK, where="manifest")

    def _pieces(self, digest: str, size: int, done: int) -> Iterator[bytes]:
        """The rest of a blob."""
        headers = {"Range": f"bytes={done}-"} if done else {}
        url = f"{self._wire.base}blobs/{digest}"
        with self._wire.ask("GET", url, headers=headers, expected=size - done) as answer:
            if not _yes(answer, "the registry does not give a file of the artifact"):
                raise NotFound(
                    "the registry lacks a file of the artifact", "push it again", code="oci.none", where=digest
                )
            # Whoever does not know ranges begins anew.
            skip = done if done and answer.status != 206 else 0
            for chunk in answer.chunks():
                yield chunk[skip:]
                skip = max(0, skip - len(chunk))

    def _new_upload(self) -> str:
        with self._wire.ask("POST", f"{self._wire.base}blobs/uploads/") as answer:
            _must(answer, 202, "the registry does not take files")
            return _location(answer)

    def _resumed(self, memory: Path) -> tuple[str, int]:
        """An upload that was begun earlier, and how many bytes of it arrived; none is an empty URL."""
        try:
            url = memory.read_text("ascii")
            with self._wire.ask("GET", url, tries=1) as answer:
                found = _RANGE.match(answer.headers.get("range", ""))
                if answer.status != 204 or found is None:
                    raise NotReady("the registry has forgotten it")
                # An upload of nothing and one of a single byte look the same; nobody stops after one.
                return _location(answer), int(found[1]) + 1 if int(found[1]) else 0
        except (PenstockError, OSError, ValueError):
            memory.unlink(missing_ok=True)
            return "", 0

    def _send(self, blob: OciBlob, url: str, done: int, memory: Path, told: Told) -> None:
        """The rest of a blob to where its upload goes on."""
        if done > blob.size:
            raise NotReady("the registry holds more of it than there is", code="oci.unready")
        pieces = blob.size > self._chunk_bytes
        if pieces:
            self._remember(memory, url)
        while pieces and done < blob.size:
            end = min(done + self._chunk_bytes, blob.size)
            url = self._patch(blob, url, done, end)
            self._remember(memory, url)
            done = end
            told(done)
        rest = Sending(blob.size - done, lambda: blob.open(done, blob.size - done))
        final = f"{url}{'&' if '?' in url else '?'}digest={quote(blob.digest, safe='')}"
        with self._wire.ask("PUT", final, headers=_OCTETS, body=rest, tries=1) as answer:
            _must(answer, 201, "the registry does not take a file")
        told(blob.size)

    def _patch(self, blob: OciBlob, url: str, start: int, end: int) -> str:
        """One chunk; gives where the next one goes."""
        headers = _OCTETS | {"Content-Range": f"{start}-{end - 1}"}
        body = Sending(end - start, lambda: blob.open(start, end - start))
        with self._wire.ask("PATCH", url, headers=headers, body=body, tries=1) as answer:
            _must(answer, 202, "the registry does not take a part of a file")
            return _location(answer)

    def _remember(self, memory: Path, url: str) -> None:
        """Where an upload goes on, should this process end here."""
        make_folder(memory.parent)
        write_whole(memory, url.encode("ascii"))


_ASK = "do not use it; ask who runs the registry"


def _location(answer: OciAnswer) -> str:
    """Where an upload goes on."""
    where = answer.headers.get("location", "")
    if not where or not where.isascii():
        raise Untrusted("the registry does not say where a file goes", _ASK, code="oci.protocol")
    return urljoin(answer.url, where)


def _yes(answer: OciAnswer, refusal: str) -> bool:
    """Whether it is there."""
    if answer.status in (200, 206):
        return True
    if answer.status == 404:
        return False
    raise _said(answer, refusal)


def _must(answer: OciAnswer, status: int, refusal: str) -> None:
    if answer.status != status:
        raise _said(answer, refusal)


def _said(answer: OciAnswer, refusal: str) -> PenstockError:
    """A refusal, with the registry's own word for it where it has one."""
    try:
        found = msgspec.json.decode(answer.read(_READ_BYTES), type=_Errors).errors
    except (msgspec.DecodeError, UnicodeDecodeError, PenstockError, OSError, http.client.HTTPException):
        found = []
    words = ", ".join(one.code for one in found[:3] if _CODE.match(one.code))
    text = f"{refusal}: status {answer.status}{f', {words}' if words else ''}"
    if answer.status >= 500 or answer.status == 429:
        return NotReady(text, "try again later; what arrived is not sent again", code="oci.unready")
    if answer.status in (404, 409, 416):
        return Conflict(text, "try again; another client may be at work there", code="oci.conflict")
    return InvalidInput(text, "ask who runs the registry what it takes", code="oci.refused")
