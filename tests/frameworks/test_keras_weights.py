"""Weights of a Keras file that are more than arrays of their own: each way out of the file is refused."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from penstock.build.formats.keras import KerasFormat
from penstock.errors import Untrusted

KERAS = Path(__file__).parents[1] / "golden" / "tensorflow" / "logistic.keras"


def packed(place: Path, weights: bytes) -> Path:
    """The Keras file with other weights."""
    with zipfile.ZipFile(KERAS) as given, zipfile.ZipFile(place, "w") as archive:
        for name in given.namelist():
            archive.writestr(name, weights if name == "model.weights.h5" else given.read(name))
    return place


def outside_link(file: h5py.File, place: Path) -> None:
    file["outside"] = h5py.ExternalLink(str(place / "other.h5"), "/x")


def soft_link(file: h5py.File, place: Path) -> None:
    file["soft"] = h5py.SoftLink("/layers")


def outside_bytes(file: h5py.File, place: Path) -> None:
    file.create_dataset("raw", (4,), "f4", external=[(str(place / "secret"), 0, 16)])


def virtual(file: h5py.File, place: Path) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(str(place / "other.h5"), "x", (4,))
    file.create_virtual_dataset("virtual", layout)


def twice(file: h5py.File, place: Path) -> None:
    file["again"] = file["layers"]


def round_and_round(file: h5py.File, place: Path) -> None:
    file["layers"]["up"] = file["/"]


def hollow(file: h5py.File, place: Path) -> None:
    file.create_dataset("hollow", (1 << 40,), "f4")


def packed_hollow(file: h5py.File, place: Path) -> None:
    file.create_dataset("hollow", (1 << 40,), "f4", chunks=(1 << 20,), compression="gzip")


def references(file: h5py.File, place: Path) -> None:
    file.create_dataset("references", (2,), h5py.ref_dtype)


def foreign_filter(file: h5py.File, place: Path) -> None:
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_chunk((4,))
    settings.set_filter(32_000, h5py.h5z.FLAG_OPTIONAL, (1,))
    h5py.h5d.create(file.id, b"filtered", h5py.h5t.NATIVE_FLOAT, h5py.h5s.create_simple((4,)), settings)


@pytest.mark.parametrize(
    "spoil",
    [
        outside_link,
        soft_link,
        outside_bytes,
        virtual,
        twice,
        round_and_round,
        hollow,
        packed_hollow,
        references,
        foreign_filter,
    ],
)
def test_weights_that_are_not_their_own_are_refused(tmp_path: Path, spoil: Callable[..., None]) -> None:
    (tmp_path / "secret").write_bytes(os.urandom(16))
    with zipfile.ZipFile(KERAS) as archive:
        weights = Path(archive.extract("model.weights.h5", tmp_path))
    with h5py.File(weights, "r+") as file:
        spoil(file, tmp_path)
    bad = packed(tmp_path / "model", weights.read_bytes())
    with pytest.raises(Untrusted, match="weights"):
        KerasFormat().audit(bad)
    with pytest.raises(Untrusted, match="weights"):
        KerasFormat().audit(packed(tmp_path / "damaged", weights.read_bytes()[:900]))
