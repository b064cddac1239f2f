"""A key is revoked while its packages answer: they go on from memory, nothing loads them again, no other is hurt."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from dataplane_for_tests import Answered, DataPlane, route, until, v2
from packages_for_tests import linear_package
from penstock.access.files import write_whole
from penstock.build.sign import sign_folder
from penstock.packages.keyring import REVOKED, TRUSTED
from penstock.packages.keys import new_package_key
from penstock.packages.signature import REVOKED_SIGNER
from penstock.records import KeyRevoked, encode

BODY = v2([[1.0, 2.0, 3.0, 4.0]])


def test_a_revoked_key_costs_its_own_endpoints_alone(tmp_path: Path) -> None:
    good, lost = new_package_key(), new_package_key()
    keys = tmp_path / "keys"
    keys.mkdir()
    write_whole(keys / TRUSTED, good.public_key().pem + lost.public_key().pem)
    plane = DataPlane(tmp_path)
    digests = [plane.add(linear_package, tmp_path / name, bias=float(n)) for n, name in enumerate(("good", "lost"))]
    sign_folder(tmp_path / "good", good)
    sign_folder(tmp_path / "lost", lost)
    plane.write(route("good", digests[0]), route("lost", digests[1]))
    plane.start("--spares", "0", "--keys", str(keys / TRUSTED), workers=1)

    def ask(name: str) -> Answered:
        return plane.ask("POST", f"/v2/models/{name}/infer", BODY)

    try:
        plane.settled(workers=1)
        before = ask("lost").json["outputs"]
        record = KeyRevoked(name="packages", hint=lost.public_key().hint, reason="stolen", at=1.0)
        write_whole(keys / REVOKED, encode([record]))
        plane.write(route("lost", digests[1]), route("good", digests[0]))
        plane.settled(workers=1)
        assert ask("lost").json["outputs"] == before, "from memory"

        # The revoked key is still in trusted.pub: the list beside it has the last word.
        os.kill(plane.statuses()[0].pid, signal.SIGKILL)
        until(lambda: any(one.codes.get(digests[1]) == REVOKED_SIGNER for one in plane.statuses()))
        plane.settled(workers=1)
        assert ask("good").status == 200
        refused = ask("lost")
        assert (refused.status, b"trusted signature" in refused.body) == (503, True)
        assert plane.ask("GET", "/v2/health/ready").status == 200, "or its pod would take the good one along"
        assert plane.ask("GET", "/v2/models/lost/ready").status in (400, 503)
        assert "stolen" in plane.statuses()[0].failed[digests[1]]

        sign_folder(tmp_path / "lost", good)
        until(lambda: ask("lost").status == 200)
        assert ask("lost").json["outputs"] == before
    finally:
        plane.stop()


def test_a_switch_to_what_a_revoked_key_signed_leaves_what_answers(tmp_path: Path) -> None:
    good, lost = new_package_key(), new_package_key()
    keys = tmp_path / "keys"
    keys.mkdir()
    write_whole(keys / TRUSTED, good.public_key().pem)
    write_whole(keys / REVOKED, encode([KeyRevoked(name="packages", hint=lost.public_key().hint, reason="stolen")]))
    plane = DataPlane(tmp_path)
    digests = [plane.add(linear_package, tmp_path / name, bias=float(n)) for n, name in enumerate(("good", "lost"))]
    sign_folder(tmp_path / "good", good)
    sign_folder(tmp_path / "lost", lost)
    plane.write(route("e", digests[0]))
    plane.start("--spares", "0", "--keys", str(keys / TRUSTED), workers=1)
    try:
        plane.settled(workers=1)
        before = plane.ask("POST", "/v2/models/e/infer", BODY).json["outputs"]
        plane.write(route("e", digests[1], version=2))
        until(lambda: any(one.codes.get(digests[1]) == REVOKED_SIGNER for one in plane.statuses()))
        assert plane.ask("POST", "/v2/models/e/infer", BODY).json["outputs"] == before
        assert plane.statuses()[0].snapshot == 1
    finally:
        plane.stop()
