"""What was verified is what answers: files that are swapped between being verified and being used are refused."""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import struct
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from dataplane_for_tests import DataPlane, route, until, v2
from packages_for_tests import WIDTH, linear_package
from penstock.build.sign import sign_folder
from penstock.packages.keys import PrivateKey, new_package_key
from penstock.packages.read import CHANGED
from penstock.serve.models import Shelf

NAMES = frozenset({"manifest.json", "signature.json", "model.onnx", "golden.json"})
ROWS = np.ones((1, WIDTH), np.float32)
KEY = new_package_key()
IN_CLOSE_NOWRITE = 0x10


class Swapper:
    """Sees every file of a package that this process opens, and puts another in its place at the n-th."""

    def __init__(self) -> None:
        self.at = 0
        self.opened = 0
        self.swap = lambda: None
        sys.addaudithook(self._watch)

    def arm(self, at: int, swap: object) -> None:
        self.at, self.opened, self.swap = at, 0, swap  # type: ignore[assignment]

    def _watch(self, event: str, arguments: tuple[object, ...]) -> None:
        if event != "open" or not self.at or os.path.basename(str(arguments[0])) not in NAMES:
            return
        self.opened += 1
        if self.opened == self.at:
            self.at = 0
            self.swap()


@pytest.fixture(scope="module")
def swapper() -> Swapper:
    return Swapper()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good package and an evil one of the same name and key: sound in itself, with other answers."""
    place = tmp_path_factory.mktemp("store")
    for name, bias in (("good", 0.0), ("evil", 5.0)):
        linear_package(place / name, bias=bias)
        sign_folder(place / name, KEY)
    return place


def loaded(folder: Path, digest: str) -> tuple[str, float]:
    """``served`` and the probability it answers, or the code of the refusal."""
    shelf = Shelf([KEY.public_key()], None)
    try:
        asyncio.run(shelf.ensure({digest: str(folder)}))
        if digest not in shelf.models:
            return shelf.codes.get(digest, shelf.failed[digest]), 0.0
        engine = shelf.models[digest].engine
        assert engine is not None
        return "served", float(engine.run({"X": ROWS})["probabilities"][0, 1])
    finally:
        shelf.close()


WHAT = ("model", "model and examples", "everything but the manifest", "the folder")


@pytest.mark.parametrize("what", WHAT)
def test_at_every_opening_of_a_file_a_swap_is_refused_or_changes_nothing(
    swapper: Swapper, store: Path, tmp_path: Path, what: str
) -> None:
    digest = linear_package(tmp_path / "again")
    good = loaded(store / "good", digest)
    evil = 1 / (1 + np.exp(-(float(good[1] and np.log(good[1] / (1 - good[1]))) + 5.0)))
    assert good[0] == "served"
    assert abs(evil - good[1]) > 1e-3
    outcomes = []
    for at in range(1, 40):
        place, beside = tmp_path / f"p{at}", tmp_path / f"e{at}"
        shutil.copytree(store / "good", place)
        shutil.copytree(store / "evil", beside)

        def swap(place: Path = place, beside: Path = beside) -> None:
            if what == "the folder":
                place.rename(place.with_suffix(".old"))
                beside.rename(place)
                return
            names = {"model": ["model/model.onnx"], "model and examples": ["model/model.onnx", "golden.json"]}
            for name in names.get(what, ["model/model.onnx", "golden.json", "signature.json"]):
                os.rename(beside / name, place / name)

        swapper.arm(at, swap)
        outcome, value = loaded(place, digest)
        if outcome == "served":
            assert value == good[1], f"swapped at opening {at}"
        outcomes.append(outcome)
        if swapper.at:
            swapper.at = 0
            break
    assert len(outcomes) > 6, "it was swapped at each opening, and once not at all"
    assert outcomes[-1] == "served"
    refused = [one for one in outcomes if one != "served"]
    assert len(refused) >= 4
    assert CHANGED in refused, "some were swapped after they had been verified"


class Inotify(threading.Thread):
    """Another process's eyes: as soon as a file was read to its end, it is replaced."""

    def __init__(self, file: Path, evil: Path) -> None:
        super().__init__(daemon=True)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init()
        assert self._libc.inotify_add_watch(self._fd, bytes(file), IN_CLOSE_NOWRITE) >= 0
        self._file, self._evil = file, evil
        self.swapped = False

    def run(self) -> None:
        data = os.read(self._fd, 4096)
        assert struct.unpack_from("iIII", data)[1] & IN_CLOSE_NOWRITE
        os.rename(self._evil, self._file)
        self.swapped = True
        os.close(self._fd)


@pytest.fixture
def evils(tmp_path: Path) -> list[Path]:
    made = [tmp_path / f"evil-{number}" for number in range(3)]
    for place in made:
        linear_package(place, bias=5.0)
    return made


def test_a_data_plane_refuses_what_was_swapped_as_soon_as_it_was_verified(tmp_path: Path, evils: list[Path]) -> None:
    key: PrivateKey = new_package_key()
    (tmp_path / "trusted.pub").write_bytes(key.public_key().pem)
    plane = DataPlane(tmp_path)
    names = [f"m{number}" for number in range(len(evils))]
    digests = {name: plane.add(linear_package, tmp_path / name, name=name) for name in ("first", *names)}
    for name in digests:
        sign_folder(tmp_path / name, key)
    plane.write(route("first", digests["first"]))
    plane.start("--spares", "0", "--keys", str(tmp_path / "trusted.pub"), workers=1)
    body = v2([[1.0] * WIDTH])
    try:
        plane.settled(workers=1)
        right = plane.ask("POST", "/v2/models/first/infer", body).json["outputs"]
        for name, evil in zip(names, evils, strict=True):
            eyes = Inotify(tmp_path / name / "model" / "model.onnx", evil / "model" / "model.onnx")
            eyes.start()
            plane.write(route("first", digests["first"]), route(name, digests[name]))
            until(lambda: eyes.swapped)  # noqa: B023
            until(lambda: any(digests[name] in (*one.ready, *one.failed) for one in plane.statuses()))  # noqa: B023
            answer = plane.ask("POST", f"/v2/models/{name}/infer", body)
            assert answer.status != 200 or answer.json["outputs"] == right
    finally:
        plane.stop()
