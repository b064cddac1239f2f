"""Tars and zips that try to get out, to grow, or to say two things at once."""

from __future__ import annotations

import gzip
import io
import json
import stat
import tarfile
import zipfile
from collections.abc import Iterator

from tests.security.artifacts.artifact import Artifact, Target, several
from tests.security.artifacts.zips import tricks, zipped

HANDLER = b"def handle(data, context):\n    return None if data is None else [1 for _ in data]\n"
MAR_MANIFEST = "MAR-INF/MANIFEST.json"


def names(target: Target) -> dict[str, str]:
    """What a member may call itself."""
    return {
        "climbing": "../up", "climbing twice": "../../up", "climbing inside": "a/../../up", "climbing behind a dot": "./../up",
        "absolute": "/tmp/absolute", "of two slashes": "a//b", "a dot": ".", "two dots": "..", "with a dot inside": "a/./b",
        "hidden": ".bashrc", "with backslashes": "..\\..\\up", "of another system": "C:\\up", "of a share": "\\\\host\\up",
        "with a line end": "a\nb", "with a bell": "a\x07b", "in another alphabet": "модель", "with a half-width slash": "a\uff0f..\uff0fup",
        "far too deep": "a/" * 40 + "b", "far too long": "x" * 240, "that ends in a dot": "con.", "with a space": " a",
        "a home": "~root/.ssh/keys", "an option": "--checkpoint-action=exec", "a stream": "a:b", "a percent": "%2e%2e/up",
        "a device": "dev/../../dev/null", "a variable": "$HOME/up", "of the interpreter": "../site-packages/evil.pth",
    }  # fmt: skip


def tar_of(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", data: bytes = b"x", form: int = tarfile.USTAR_FORMAT
) -> bytes:
    place = io.BytesIO()
    with tarfile.open(fileobj=place, mode="w", format=form) as tar:
        first = tarfile.TarInfo("first")
        tar.addfile(first, io.BytesIO())
        member = tarfile.TarInfo(name)
        member.type, member.linkname, member.size = kind, link, len(data) if kind == tarfile.REGTYPE else 0
        tar.addfile(member, io.BytesIO(data))
        if kind != tarfile.REGTYPE:
            behind = tarfile.TarInfo(f"{name}/behind")
            behind.size = 4
            tar.addfile(behind, io.BytesIO(b"harm"))
    return place.getvalue()


def tars(target: Target) -> Iterator[tuple[str, bytes]]:
    for what, name in names(target).items():
        if len(name) < 99:
            yield f"tar: a name {what}", tar_of(name)
    kinds = {
        "link": tarfile.SYMTYPE, "hard link": tarfile.LNKTYPE, "device": tarfile.CHRTYPE, "block device": tarfile.BLKTYPE,
        "pipe": tarfile.FIFOTYPE, "contiguous file": tarfile.CONTTYPE, "sparse file": b"S", "volume": b"V", "kind of nobody": b"Z",
    }  # fmt: skip
    for what, kind in kinds.items():
        for to in (target.secret, "../../up", "first"):
            yield f"tar: a {what} to {'the secret' if to == target.secret else to}", tar_of("member", kind, to)
    for what, headers in {
        "path": {"path": target.marker}, "linkpath": {"linkpath": target.secret}, "size": {"size": "999999"},
        "sparse map": {"GNU.sparse.map": "0,1"}, "sparse name": {"GNU.sparse.name": "../up"}, "charset": {"hdrcharset": "BINARY"},
    }.items():  # fmt: skip
        yield f"tar: a later {what}", _with_pax(headers)
    yield "tar: a long name of GNU's", tar_of("a" * 150, form=tarfile.GNU_FORMAT)
    yield "tar: a name twice", _twice("a", "a")
    yield "tar: a name twice but for its case", _twice("model", "MODEL")
    yield "tar: a file that is a folder", _twice("a", "a/b")
    good = tar_of("a", data=b"x" * 3000)
    yield "tar: goes on behind its end", good + good
    yield "tar: cut in a member", good[:2000]
    yield "tar: cut in a header", good[:700]
    yield "tar: another sum", good[:517] + b"z" + good[518:]
    yield "tar: a size of base 256", good[:636] + b"\x80" + bytes(10) + b"\x05" + good[648:]
    yield "tar: in gzip", gzip.compress(good)
    yield "tar: five thousand files", _many(5000)


def zips(target: Target) -> Iterator[tuple[str, bytes]]:
    for what, name in names(target).items():
        yield f"zip: a name {what}", zipped({"first": b"", name: b"x"})
    for mode in (stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK):
        yield f"zip: a member of mode {mode:o}", zipped({"a": target.secret.encode()}, mode=mode | 0o777)
    for what, data in tricks({"model": b"good good good"}, "model", b"evil evil evil", target.secret).items():
        yield f"zip: {what}", data
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        yield f"zip: method {method}", zipped({"a": b"x" * 100}, method=method)
    yield "zip: five thousand files", zipped({f"f{at}": b"" for at in range(5000)})
    yield "zip: a name with a zero", zipped({"ab\x01c": b"x"}).replace(b"ab\x01c", b"ab\0c")
    yield "zip: a flag of UTF-8 that is not", zipped({"é": b"x"}).replace("é".encode(), b"\xff\xfe")
    yield "zip: sixty-four bits of size", zipped({"a": b"x" * 10}).replace(b"\x0a\0\0\0\x0a\0\0\0", b"\xff" * 8, 2)
    yield (
        "zip: no members but a million said",
        zipped({"a": b"x"})[:-14] + b"\xff\xff\xff\xff" + zipped({"a": b"x"})[-10:],
    )
    for data, what in (
        (b"", "nothing"),
        (b"PK\x03\x04", "four bytes"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(99), "another archive"),
        (b"Rar!\x1a\x07\0" + bytes(99), "a rar"),
    ):
        yield f"neither tar nor zip: {what}", data


def mars(target: Target) -> Iterator[tuple[str, bytes]]:
    """TorchServe's archives, whose manifest names code."""
    for what, change in {
        "no name": {"modelName": None}, "a name that climbs": {"modelName": "../../up"}, "an absolute name": {"modelName": target.marker},
        "a name with a line end": {"modelName": "a\nb"}, "a name of a command": {"modelName": "a;touch harm"},
        "a handler elsewhere": {"handler": "../../etc/evil.py"}, "an absolute handler": {"handler": target.marker + ".py"},
        "a handler of Python's": {"handler": "os:system"}, "a handler with code": {"handler": "handler.py:handle();import os"},
        "a handler of a package": {"handler": "os.path:join"}, "a handler of TorchServe's": {"handler": "image_classifier"},
        "a handler that is a number": {"handler": 7}, "weights elsewhere": {"serializedFile": "../../etc/passwd"},
        "weights that are not there": {"serializedFile": "weights.pt"}, "requirements elsewhere": {"requirementsFile": "/etc/passwd"},
        "requirements that are not there": {"requirementsFile": "r.txt"}, "a configuration elsewhere": {"configFile": "../c.yaml"},
        "a model file elsewhere": {"modelFile": "../m.py"},
    }.items():  # fmt: skip
        yield what, _mar(change)
    yield "another runtime", _mar({}, runtime="/bin/sh")
    yield "a manifest that is a list", zipped({"handler.py": HANDLER, MAR_MANIFEST: b"[]"})
    yield "a manifest that is too deep", zipped({"handler.py": HANDLER, MAR_MANIFEST: b"[" * 100_000})
    yield (
        "a manifest of half a character",
        zipped({"handler.py": HANDLER, MAR_MANIFEST: b'{"model":{"modelName":"\\ud800","handler":"handler.py"}}'}),
    )
    yield "no manifest", zipped({"handler.py": HANDLER})
    yield "no handler", zipped({MAR_MANIFEST: _manifest({})})
    files = {"handler.py": HANDLER, MAR_MANIFEST: _manifest({})}
    for what, data in tricks(files, "handler.py", target.source.encode(), target.secret).items():
        yield f"zip: {what}", data


def artifacts() -> Iterator[Artifact]:
    """All of them."""
    yield from several("archive", tars, door="unpack")
    yield from several("archive", zips, door="unpack")
    yield from several("mar", mars, door="mar")


def _manifest(change: dict[str, object], runtime: str = "python") -> bytes:
    model = {"modelName": "echo", "handler": "handler.py", "modelVersion": "1.0", **change}
    return json.dumps(
        {"runtime": runtime, "model": {key: one for key, one in model.items() if one is not None}}
    ).encode()


def _mar(change: dict[str, object], runtime: str = "python") -> bytes:
    return zipped({"handler.py": HANDLER, MAR_MANIFEST: _manifest(change, runtime)})


def _with_pax(headers: dict[str, str]) -> bytes:
    place = io.BytesIO()
    with tarfile.open(fileobj=place, mode="w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("a")
        member.pax_headers, member.size = headers, 1
        tar.addfile(member, io.BytesIO(b"x"))
    return place.getvalue()


def _twice(one: str, two: str) -> bytes:
    place = io.BytesIO()
    with tarfile.open(fileobj=place, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in (one, two):
            member = tarfile.TarInfo(name)
            member.size = 1
            tar.addfile(member, io.BytesIO(b"x"))
    return place.getvalue()


def _many(count: int) -> bytes:
    place = io.BytesIO()
    with tarfile.open(fileobj=place, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for at in range(count):
            tar.addfile(tarfile.TarInfo(f"f{at}"), io.BytesIO())
    return place.getvalue()
