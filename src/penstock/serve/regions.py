"""Stage 4, serve: tensors in POSIX shared memory, for clients on the same machine.

    register --check--> run/regions/<hash of owner and name>.json      (one file a region: all workers see it at once)
    Request.shared --fetch--> arrays          outputs --place--> the client's object, `Request.placed` says where

A region belongs to whoever registered it. It is read and written through a descriptor and never mapped: a client that
shortens its object while we read gets an error, where a mapping would kill the worker (SIGBUS), and what was checked
is what the model sees. Objects are opened relative to /dev/shm, by a plain name, without following links.
Source: Triton's system shared memory extension; shm_overview(7).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

import msgspec

from penstock.errors import Conflict, Corrupt, InvalidInput, NotFound
from penstock.records import decode, encode
from penstock.serve.acts import Register
from penstock.serve.cards import Region
from penstock.serve.protocol import Request, Span
from penstock.serve.snapshots import write_whole
from penstock.serve.tensordata import from_raw, to_raw
from penstock.tensors import Array, Arrays

OBJECTS = "/dev/shm"  # noqa: S108 (where Linux keeps POSIX shared memory objects)
MOST_REGIONS = 1024
_MOST_OPEN = 256
_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,200}")
_OURS = re.compile(r"penstock|sem\.", re.IGNORECASE)


class Regions:
    """The regions of a data plane, as one of its workers uses them.

    Args:
        run: The run folder.
    """

    def __init__(self, run: Path) -> None:
        self._folder = run / "regions"
        self._open: dict[tuple[str, str], tuple[int, int, Region]] = {}

    # -- the registry

    def register(self, act: Register, owner: str) -> None:
        """Name a part of an object.

        Raises:
            InvalidInput: The name or the key is no plain name, or the object is smaller.
            NotFound: There is no such object.
            Conflict: The name means something else already, or there are too many.
        """
        if not act.name or len(act.name) > 256:
            raise InvalidInput("a region has a name of 1 to 256 characters", where="region")
        if act.offset < 0 or act.size <= 0:
            raise InvalidInput("a region has a positive size and no negative offset", where="byte_size")
        descriptor = _opened(act.key)
        try:
            found = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if act.offset + act.size > found.st_size:
            raise InvalidInput("the object is smaller than the region", "make it larger first", where="byte_size")
        region = Region(act.name, act.key, act.offset, act.size, owner, found.st_ino)
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(owner, act.name)
        known = _read(path)
        if known is not None and known != region:
            raise Conflict("a region of that name is registered", "unregister it first", code="serve.region")
        if known is None and sum(1 for _ in self._folder.glob("*.json")) >= MOST_REGIONS:
            raise Conflict("too many regions are registered", "unregister some", code="serve.region")
        write_whole(path, encode(region))

    def unregister(self, name: str, owner: str) -> None:
        """Forget a region, or all of the owner's; one that is not there is forgotten already."""
        for region in [one for one in self.owned(owner) if not name or one.name == name]:
            self._path(owner, region.name).unlink(missing_ok=True)

    def owned(self, owner: str) -> tuple[Region, ...]:
        """The owner's regions, by name."""
        found = [_read(path) for path in self._folder.glob("*.json")]
        return tuple(sorted((one for one in found if one and one.owner == owner), key=lambda one: one.name))

    # -- tensors

    def fetch(self, request: Request, owner: str) -> Request:
        """The request with its shared inputs among its arrays.

        Raises:
            InvalidInput: A region is not the owner's, has shrunk, or holds something else than the tensor.
        """
        arrays: Arrays = dict(request.arrays)
        for one in request.shared:
            data = self._bytes(one.span, owner, one.where)
            arrays[one.name] = from_raw(data, one.datatype, list(one.shape), where=one.where)
        return msgspec.structs.replace(request, arrays=arrays, shared=())

    def check(self, placed: Mapping[str, Span], owner: str) -> None:
        """Refuse outputs' places before anything runs.

        Raises:
            InvalidInput: A region is not the owner's, or the span is not within it.
        """
        for name, span in placed.items():
            self._descriptor(span, owner, f"outputs.{name}.parameters")

    def place(self, placed: Mapping[str, Span], outputs: Mapping[str, Array], owner: str) -> dict[str, int]:
        """Write outputs where their caller wants them.

        Returns:
            Bytes written, by output.

        Raises:
            InvalidInput: An output is larger than its span.
        """
        written: dict[str, int] = {}
        for name, span in placed.items():
            where = f"outputs.{name}.parameters"
            data = to_raw(outputs[name])
            if len(data) > span.size:
                raise InvalidInput(
                    f"the output has {len(data)} bytes and its place {span.size}",
                    "give it a larger part",
                    where=f"{where}.shared_memory_byte_size",
                )
            descriptor, start = self._descriptor(span, owner, where)
            if os.pwrite(descriptor, data, start) != len(data):
                raise _shrunk(where)
            written[name] = len(data)
        return written

    def close(self) -> None:
        """Let go of every object."""
        for _, descriptor, _ in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def _bytes(self, span: Span, owner: str, where: str) -> memoryview:
        descriptor, start = self._descriptor(span, owner, f"{where}.parameters")
        data = memoryview(bytearray(span.size))
        done = 0
        while done < span.size:
            read = os.preadv(descriptor, [data[done:]], start + done)
            if not read:
                raise _shrunk(where)
            done += read
        return data

    def _descriptor(self, span: Span, owner: str, where: str) -> tuple[int, int]:
        """The object of a region, and where in it a span begins."""
        descriptor, region = self._opened(span.region, owner, where)
        if span.offset < 0 or span.size < 0 or span.offset + span.size > region.size:
            raise InvalidInput("this is not within the region", "look at its status", where=where)
        start = region.offset + span.offset
        if start + span.size > os.fstat(descriptor).st_size:
            raise _shrunk(where)
        return descriptor, start

    def _opened(self, name: str, owner: str, where: str) -> tuple[int, Region]:
        path = self._path(owner, name)
        try:
            seen = path.stat().st_mtime_ns
        except OSError:
            self._forget((owner, name))
            raise InvalidInput(
                "there is no such region", "register it first", where=f"{where}.shared_memory_region"
            ) from None
        known = self._open.get((owner, name))
        if known is not None and known[0] == seen:
            return known[1], known[2]
        self._forget((owner, name))
        region = _read(path)
        if region is None:
            raise InvalidInput("there is no such region", "register it first", where=f"{where}.shared_memory_region")
        if len(self._open) >= _MOST_OPEN:
            self._forget(next(iter(self._open)))
        descriptor = _opened(region.key)
        self._open[owner, name] = (seen, descriptor, region)
        if os.fstat(descriptor).st_ino != region.inode:
            self._forget((owner, name))
            raise InvalidInput("the object behind the region is another one now", "register it again", where=where)
        return descriptor, region

    def _forget(self, key: tuple[str, str]) -> None:
        if key in self._open:
            os.close(self._open.pop(key)[1])

    def _path(self, owner: str, name: str) -> Path:
        digest = blake2b(f"{owner}\0{name}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        return self._folder / f"{digest}.json"


def _opened(key: str) -> int:
    """A descriptor of an object, by its name alone.

    Raises:
        InvalidInput: It is no plain name, or no plain object.
        NotFound: There is none, or it may not be opened.
    """
    key = key.removeprefix("/")
    if not _NAME.fullmatch(key) or key in (".", "..") or _OURS.match(key):
        raise InvalidInput("this is no name of a shared memory object of yours", "send one name alone", where="key")
    folder = os.open(OBJECTS, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(key, flags, dir_fd=folder)
    except OSError:
        raise NotFound("there is no such shared memory object", "create it first", code="serve.no_object") from None
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InvalidInput("this is no shared memory object", "send the name of one", where="key")
    return descriptor


def _read(path: Path) -> Region | None:
    try:
        return decode(path.read_bytes(), Region)
    except (OSError, Corrupt):
        return None


def _shrunk(where: str) -> InvalidInput:
    return InvalidInput("the object is smaller than when it was registered", "register it again", where=where)
