"""Archives that try to get out, to grow, or to say two things at once: not a byte outside, not a folder left."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.errors import Conflict, Untrusted
from penstock.packages.archive import Caps, pack, unpack

BAD_NAMES = (
    "../up", "/abs", "a/../../up", "./../up", "a//b", "", ".", "..", "a/./b", ".hidden", "a\\b", "C:\\x", "a\x00b",
    "a\nb", "ä", "a/" * 30 + "b", "x" * 200, "con.", " a", "a b", "~root", "-rf/../..",
)  # fmt: skip


def tar_of(*members: tuple[str, bytes, bytes], link: str = "", form: int = tarfile.USTAR_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, kind, data in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(data), link
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zip_of(*members: tuple[str, bytes], mode: int = 0o100644, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members:
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, method
            archive.writestr(info, data)
    return out.getvalue()


def hostile() -> Iterator[tuple[str, bytes]]:
    for name in BAD_NAMES:
        if len(name) < 90 and "\0" not in name:
            yield f"tar name {name!r}", tar_of((name, tarfile.REGTYPE, b"x"))
        for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            # zipfile cuts a name at its zero; what it would not write is put in afterwards.
            written = zip_of((name.replace("\0", "\x01") or "/", b"x"), method=method)
            yield f"zip name {name!r} {method}", written.replace(b"\x01", b"\0") if "\0" in name else written
    for kind in (
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
        b"7",
        b"S",
        b"V",
    ):
        for target in ("/etc/passwd", "../../up", "a"):
            yield f"tar type {kind!r} to {target}", tar_of(("a", kind, b""), link=target)
            first = ("link", kind, b"")
            yield f"through {kind!r} to {target}", tar_of(first, ("link/x", tarfile.REGTYPE, b"x"), link=target)
    for mode in (0o120777, 0o020644, 0o060644, 0o010644, 0o140644):
        yield f"zip mode {mode:o}", zip_of(("a", b"/etc/passwd"), mode=mode)
    for twice in (("a", "a"), ("a", "A"), ("a", "a/b"), ("a/b", "a")):
        yield f"tar twice {twice}", tar_of(*((name, tarfile.REGTYPE, b"x") for name in twice))
        yield f"zip twice {twice}", zip_of(*((name, b"x") for name in twice))
    yield "pax path", tar_of(("a" * 90 + "/" + "b" * 150, tarfile.REGTYPE, b"x"), form=tarfile.PAX_FORMAT)
    yield "gnu long name", tar_of(("a" * 150, tarfile.REGTYPE, b"x"), form=tarfile.GNU_FORMAT)
    yield "many", tar_of(*((f"f{at}", tarfile.REGTYPE, b"") for at in range(40)))
    yield "zip bomb", zip_of(("a", bytes(40 << 20)))
    yield "neither", b"hello" * 200
    yield "empty", b""
    for cut in (100, 512, 700, 1500):
        yield f"tar cut at {cut}", tar_of(("a", tarfile.REGTYPE, b"x" * 2000))[:cut]
        yield f"zip cut at {cut}", zip_of(("a", bytes(range(256)) * 10), method=zipfile.ZIP_STORED)[:cut]
    good = tar_of(("a", tarfile.REGTYPE, b"x"))
    yield "tar checksum", good[:3] + b"z" + good[4:]
    yield "tar tail", good + b"more"
    plain = zip_of(("a", b"x" * 50), method=zipfile.ZIP_STORED)
    yield "zip prefix", b"PK\x03\x04junk" + plain
    yield "zip local name", plain.replace(b"a", b"b", 1)
    yield "zip crc", plain.replace(b"xxxx", b"yyyy", 1)
    yield "zip comment", plain[:-2] + struct.pack("<H", 4) + b"text"


HOSTILE = dict(hostile())


def test_there_are_enough_of_them() -> None:
    assert len(HOSTILE) >= 100


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_leaves_nothing(tmp_path: Path, what: str) -> None:
    room = tmp_path / "room"
    room.mkdir()
    archive = tmp_path / "archive"
    archive.write_bytes(HOSTILE[what])
    with pytest.raises(Untrusted):
        unpack(archive, room / "package", caps=Caps(files=20))
    assert list(room.iterdir()) == []
    assert sorted(tmp_path.iterdir()) == [archive, room]


def test_a_package_survives_the_way_there_and_back(folder: Path, tmp_path: Path) -> None:
    first, second = pack(folder, tmp_path / "one.tar"), pack(folder, tmp_path / "two.tar")
    assert first.read_bytes() == second.read_bytes()
    result = unpack(first, tmp_path / "result")
    assert {path.relative_to(result): path.read_bytes() for path in result.rglob("*") if path.is_file()} == {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    with pytest.raises(Conflict):
        unpack(first, tmp_path / "result")


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_archives_of_ordinary_tools_are_read(tmp_path: Path, form: int) -> None:
    (tmp_path / "source" / "deep").mkdir(parents=True)
    (tmp_path / "source" / "deep" / "file.txt").write_bytes(b"text")
    with tarfile.open(tmp_path / "archive", "w", format=form) as tar:
        tar.add(tmp_path / "source", arcname=".", filter=lambda info: None if info.name == "." else info)
        for path in sorted((tmp_path / "source").rglob("*")):
            tar.add(path, arcname=str(path.relative_to(tmp_path / "source")), recursive=False)
    assert (unpack(tmp_path / "archive", tmp_path / "out") / "deep" / "file.txt").read_bytes() == b"text"
    with zipfile.ZipFile(tmp_path / "zipped", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "source" / "deep" / "file.txt", "deep/file.txt")
    assert (unpack(tmp_path / "zipped", tmp_path / "out2") / "deep" / "file.txt").read_bytes() == b"text"
