"""Whose packages a data plane serves: the keys of a file, and those that join it while it runs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dataplane_for_tests import DataPlane, route, until, v2
from packages_for_tests import linear_package
from penstock.build.sign import sign_folder
from penstock.errors import BadConfig
from penstock.packages.keyring import TRUSTED, KeyRing
from penstock.packages.keys import new_package_key
from penstock.packages.signature import UNKNOWN_SIGNER


def test_a_key_that_joins_is_taken_without_a_restart(tmp_path: Path) -> None:
    ours, theirs = new_package_key(), new_package_key()
    keys = tmp_path / TRUSTED
    keys.write_bytes(ours.public_key().pem)
    plane = DataPlane(tmp_path)
    digests = [plane.add(linear_package, tmp_path / name, bias=float(n)) for n, name in enumerate(("ours", "theirs"))]
    sign_folder(tmp_path / "ours", ours)
    sign_folder(tmp_path / "theirs", theirs)
    body = v2([[1.0, 2.0, 3.0, 4.0]])
    plane.write(route("ours", digests[0]))
    plane.start("--spares", "0", "--keys", str(keys), workers=1)
    try:
        plane.settled(workers=1)
        both = (route("ours", digests[0]), route("theirs", digests[1]))
        plane.write(*both)
        until(lambda: any(one.codes.get(digests[1]) == UNKNOWN_SIGNER for one in plane.statuses()))
        assert plane.ask("POST", "/v2/models/ours/infer", body).status == 200
        assert plane.ask("POST", "/v2/models/theirs/infer", body).status in (404, 503)
        beside = tmp_path / "beside"
        beside.write_bytes(ours.public_key().pem + theirs.public_key().pem)
        beside.rename(keys)
        plane.write(*both)
        plane.settled(workers=1)
        assert plane.ask("POST", "/v2/models/theirs/infer", body).status == 200
    finally:
        plane.stop()


def test_a_ring_reads_its_file_again_where_it_was_replaced(tmp_path: Path) -> None:
    first, second = (new_package_key().public_key() for _ in range(2))
    place = tmp_path / "keys"
    with pytest.raises(BadConfig):
        KeyRing(place)
    place.write_bytes(first.pem)
    ring = KeyRing(place)
    assert (list(ring), len(ring), ring[0], ring[:1]) == ([first], 1, first, (first,))
    time.sleep(0.02)
    place.write_bytes(first.pem + second.pem)
    assert list(ring) == [first, second]
    for bad in (b"", b"no key", first.pem + second.pem.replace(b"MF", b"MG")):
        time.sleep(0.02)
        place.write_bytes(bad)
        with pytest.raises(BadConfig):
            list(ring)
