"""Zip archives by hand: members that two readers see otherwise."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from collections.abc import Mapping


def zipped(files: Mapping[str, bytes], *, method: int = zipfile.ZIP_STORED, mode: int = stat.S_IFREG | 0o644) -> bytes:
    """An ordinary one."""
    place = io.BytesIO()
    with zipfile.ZipFile(place, "w", method) as archive:
        for name, data in files.items():
            member = zipfile.ZipInfo(name)
            member.external_attr, member.compress_type = mode << 16, method
            archive.writestr(member, data)
    return place.getvalue()


def shadowed(files: Mapping[str, bytes], name: str, hidden: bytes) -> bytes:
    """A member of that name twice: readers take the first or the last."""
    place = io.BytesIO()
    with zipfile.ZipFile(place, "w") as archive:
        for member, data in ({name: hidden} | dict(files)).items():
            archive.writestr(zipfile.ZipInfo(member), data)
        archive.NameToInfo.pop(name, None)
        archive.writestr(zipfile.ZipInfo(name), files[name])
    return place.getvalue()


def renamed_inside(data: bytes, name: str, other: str) -> bytes:
    """The header in front of a member names it otherwise than the directory at the end."""
    assert len(name) == len(other)
    return data.replace(name.encode(), other.encode(), 1)


def prefixed(data: bytes) -> bytes:
    """Another zip's beginning before it."""
    return b"PK\x03\x04" + bytes(26) + data


def commented(data: bytes, comment: bytes) -> bytes:
    return data[:-2] + struct.pack("<H", len(comment)) + comment


def linked(files: Mapping[str, bytes], name: str, to: str) -> bytes:
    """One member is a link."""
    place = io.BytesIO()
    with zipfile.ZipFile(place, "w") as archive:
        for member, data in files.items():
            archive.writestr(zipfile.ZipInfo(member), data)
        link = zipfile.ZipInfo(name)
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, to)
    return place.getvalue()


def tricks(files: Mapping[str, bytes], name: str, hidden: bytes, secret: str) -> dict[str, bytes]:
    """What may be wrong with any archive that holds `files`; `name` is the member that matters."""
    plain = zipped(files)
    other = name[:-1] + "x"
    return {
        "a member twice": shadowed(files, name, hidden),
        "two lists of names": renamed_inside(plain, name, other),
        "bytes before it": prefixed(plain),
        "a comment that is a zip": commented(plain, zipped({name: hidden})),
        "bytes behind it": plain + zipped({name: hidden}),
        "another sum": plain.replace(hidden[:8], b"\0" * 8, 1)
        if hidden[:8] in plain
        else plain[:40] + b"\xff" + plain[41:],
        "an encrypted member": plain.replace(b"PK\x01\x02\x14\x03\x14\0\0\0", b"PK\x01\x02\x14\x03\x14\0\x01\0", 1),
        "a link": linked(files, "link", secret),
        "a name that climbs": zipped({**files, "../../up": hidden}),
        "an absolute name": zipped({**files, "/tmp/absolute": hidden}),
        "a name twice but for its case": zipped({**files, name.swapcase(): hidden}),
        "half of it": plain[: len(plain) // 2],
        "a bomb": zipped({**files, "zeros": bytes(64 << 20)}, method=zipfile.ZIP_DEFLATED),
    }
