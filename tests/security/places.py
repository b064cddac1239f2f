"""Where packages of strangers arrive: a registry on the loopback, a home that pulls from it, and data planes.

    package's folder -> signed by nobody, a stranger, a revoked key or a trusted one -> pushed as it is -> pull
                     -> the models' folder of a data plane -> its API: load
                     -> a snapshot, as a release writes it -> a data plane that trusts one key

The data planes are processes of their own; `hook/sitecustomize.py` listens in each of them and writes down what the
judge has to know.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from dataplane_for_tests import DataPlane, route, until, v2
from oci_for_tests import SmallRegistry
from packages_for_tests import linear_package
from penstock.app.keys import revoke_key, trust_key
from penstock.app.modelcard import card_of
from penstock.app.opening import open_app
from penstock.app.pulling import pull
from penstock.build.sign import bundle_of, sign_folder
from penstock.errors import PenstockError, Refused
from penstock.packages.digests import named, sha256_bytes
from penstock.packages.keys import PrivateKey, new_package_key
from penstock.packages.manifest import SIGNATURE
from penstock.packages.publickey import PUBLIC
from penstock.registry.modelpack import ARTIFACT_TYPE, CONFIG_TYPE, MANIFEST_TYPE, PATH, WEIGHT

HOOK = Path(__file__).with_name("hook")
ROW = v2([[1.0, 2.0, 3.0, 4.0]])
PATIENCE_S = 60.0


class Places:
    """All of them, started before anything hostile comes.

    Args:
        work: A folder for their state.
        watched: What the hook is told: canaries' folder and a word of hostile code.
    """

    def __init__(self, work: Path, watched: tuple[Path, str]) -> None:
        work.mkdir()
        self._work = work
        self._log = work / "seen"
        self._heard = 0
        self._registry = SmallRegistry()
        self._registry.__enter__()
        self.app = open_app(work / "home")
        self.keys: dict[str, PrivateKey] = {name: new_package_key() for name in ("a stranger", "revoked", "trusted")}
        for name in ("revoked", "trusted"):
            trust_key(self.app, self._public(name))
        revoke_key(self.app, str(self._public("revoked")), reason="somebody else had it")
        os.environ["PENSTOCK_JUDGE"] = json.dumps([str(self._log), str(watched[0]), watched[1]])
        os.environ["PYTHONPATH"], before = str(HOOK), os.environ.get("PYTHONPATH")
        os.environ["SAGEMAKER_MULTI_MODEL"] = "true"
        os.environ |= {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
        self.models = work / "models"
        self._open, self._released = DataPlane(work / "open"), DataPlane(work / "released")
        try:
            self._start(work)
        except BaseException:
            self.close()
            raise
        for name in ("PENSTOCK_JUDGE", "SAGEMAKER_MULTI_MODEL"):
            del os.environ[name]
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before

    def _start(self, work: Path) -> None:
        self.models.mkdir()
        linear_package(self.models / "linear")
        self._open.start(
            "--models",
            str(self.models),
            "--allow",
            "load",
            "--spares",
            "0",
            "--environments",
            str(work / "made"),
            workers=1,
        )
        until(lambda: self._open.ask("GET", "/ping").status == 200)
        self._load("linear", "linear")
        self._steady = self._released.add(linear_package, work / "steady")
        sign_folder(work / "steady", self.keys["trusted"])
        self._released.write(route("linear", self._steady))
        trusted = ("--keys", str(self._public("trusted")), "--allow", "load", "--environments", str(work / "made"))
        self._released.start(*trusted, "--spares", "0", workers=1)
        self._released.settled(workers=1)

    @property
    def ports(self) -> frozenset[int]:
        """Of what is ours, so that to call it is no harm."""
        registry = int(self._registry.place.rpartition(":")[2])
        return frozenset({registry, self._open.port, self._released.port})

    def pulled(self, folder: Path, signer: str) -> None:
        """`penstock pull` of it, then its card, which people look at before they release it.

        Raises:
            PenstockError: It was refused.
        """
        if signer in self.keys:
            self._sign(folder, signer)
        self._push(folder)
        pulled = pull(self.app, f"oci://{self._registry.place}/r:1")
        card_of(self.app, pulled.ref)

    def loaded(self, folder: Path) -> None:
        """A data plane's API is asked to load it; afterwards the others answer as before.

        Raises:
            PenstockError: It was refused.
        """
        place = self.models / "hostile"
        shutil.copytree(folder, place)
        try:
            self._load("hostile", "hostile")
            self._open.ask("DELETE", "/models/hostile")
        finally:
            shutil.rmtree(place)
            self._require_well(self._open, "/models/linear/invoke", json.dumps([[1.0, 2.0, 3.0, 4.0]]))

    def released(self, folder: Path) -> None:
        """It is signed by a trusted key and released; then loaded again over the repository's API.

        Raises:
            PenstockError: No worker could make it ready.
        """
        plane = self._released
        self._sign(folder, "trusted")
        digest = named(sha256_bytes((folder / "manifest.json").read_bytes()))
        plane.packages[digest] = str(folder)
        plane.write(route("linear", self._steady), route("hostile", digest))
        try:
            told = _told(plane, digest)
            again = plane.ask("POST", "/v2/repository/models/hostile/load")
            if told or again.status != 200:
                raise Refused(told or str(again.json), "release another", code="serve.unfit")
        finally:
            del plane.packages[digest]
            plane.write(route("linear", self._steady))
            plane.settled(workers=1)
            self._require_well(plane, "/v2/models/linear/infer", ROW)

    def seen(self) -> list[str]:
        """What the hook heard since it was asked last."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        found, self._heard = lines[self._heard :], len(lines)
        return list(dict.fromkeys(found))

    def close(self) -> None:
        """End all of it."""
        for plane in (self._open, self._released):
            if plane.process is not None:
                plane.stop()
        self._registry.__exit__()

    def _load(self, name: str, folder: str) -> None:
        answer = self._open.ask("POST", "/models", json.dumps({"model_name": name, "url": folder}))
        if answer.status != 200:
            said = answer.json
            message = said.get("error") or said.get("message") or str(said)
            raise Refused(str(message), str(said.get("hint") or "see above"), code=str(said.get("code", "")))

    def _require_well(self, plane: DataPlane, path: str, body: str) -> None:
        if plane.process is None or plane.process.poll() is not None or plane.ask("POST", path, body).status != 200:
            raise RuntimeError("the data plane does not answer any more")

    def _sign(self, folder: Path, signer: str) -> None:
        """Over whatever lies there, the manifest as it is."""
        files = {one.relative_to(folder).as_posix(): one.read_bytes() for one in folder.rglob("*") if one.is_file()}
        digests = {name: sha256_bytes(data) for name, data in files.items() if name != SIGNATURE}
        (folder / SIGNATURE).write_bytes(bundle_of(digests, self.keys[signer], name=folder.name))

    def _push(self, folder: Path) -> None:
        """As an attacker's own tool does it: nothing is looked at."""
        layers = []
        for one in sorted(folder.rglob("*")):
            if one.is_file():
                data = one.read_bytes()
                about = {PATH: one.relative_to(folder).as_posix()}
                layers.append(
                    {"mediaType": WEIGHT, "digest": self._registry.put(data), "size": len(data), "annotations": about}
                )
        config = {"mediaType": CONFIG_TYPE, "digest": self._registry.put(b"{}"), "size": 2}
        self._registry.named(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "artifactType": ARTIFACT_TYPE,
                "config": config,
                "layers": layers,
            }
        )

    def _public(self, name: str) -> Path:
        place = self._work / f"{name.replace(' ', '-')}-{PUBLIC}"
        place.write_bytes(self.keys[name].public_key().pem)
        return place


def _told(plane: DataPlane, digest: str) -> str:
    """Why its worker could not make a package ready; empty where it did."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        for one in plane.statuses():
            if digest in one.failed:
                return one.failed[digest]
            if digest in one.ready:
                return ""
        time.sleep(0.02)
    raise RuntimeError("the data plane never said what became of it")


__all__ = ["PenstockError", "Places"]
