"""Keras v3 files: a configuration and weights in a zip; what the first would make is told before Keras sees it.

What comes in: what `keras.Model.save` wrote as ``.keras``. What goes out: the model, as tf2onnx compiles it or as
TensorFlow itself answers it. Keras' older HDF5 files are known, and refused: they hold functions as code.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from penstock.build.format import Audit, Original, head, with_suffix
from penstock.build.formats.python import members
from penstock.build.tensorflow.hdf5 import require_plain
from penstock.build.tensorflow.keras_config import CONFIG, MAX_BYTES, audit_config
from penstock.build.tensorflow.model import TensorflowOriginal
from penstock.errors import BadConfig, Untrusted
from penstock.packages.archive import unpack
from penstock.packages.tree import read_bytes, scan
from penstock.runtime.tensorflowmodel import open_keras

WEIGHTS = "model.weights.h5"
METADATA = "metadata.json"

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ASSETS = "assets/"


class KerasFormat:
    """What `keras.Model.save` writes."""

    suffixes = (".keras", ".h5")

    def sniff(self, path: Path) -> str:
        """A zip with Keras' configuration and weights, or an older file of HDF5."""
        if head(path).startswith(_HDF5):
            return self.suffixes[1]
        return self.suffixes[0] if {CONFIG, METADATA, WEIGHTS} <= members(path) else ""

    def audit(self, path: Path) -> Audit:
        """Its configuration, and whether its weights are its own; without Keras.

        Raises:
            BadConfig: It is an older file, of HDF5 or of Keras 2.
            Untrusted: It is no plain zip, or holds files that Keras does not write.
        """
        if head(path).startswith(_HDF5):
            raise BadConfig(
                "the model is in Keras' older HDF5 format, which keeps functions as code",
                "load it where it was trained, and save it as model.keras",
                code="build.old_format",
            )
        with TemporaryDirectory(prefix="audit-") as place:
            folder = unpack(path, Path(place) / "original")
            strange = [one for one in scan(folder) if one not in (CONFIG, METADATA, WEIGHTS) and not _is_asset(one)]
            if strange:
                raise Untrusted("a file is there that Keras does not write", "save the model again", where=strange[0])
            _require_version(read_bytes(folder, METADATA, limit=1 << 16))
            require_plain(folder / WEIGHTS)
            return audit_config(read_bytes(folder, CONFIG, limit=MAX_BYTES))

    def open(self, path: Path) -> Original:
        """The model."""
        return TensorflowOriginal(open_keras(with_suffix(path, self.suffixes[0])))


def _is_asset(name: str) -> bool:
    """A vocabulary of a layer that looks words up."""
    return name.startswith(_ASSETS) and name.endswith(".txt")


def _require_version(data: bytes) -> None:
    """Keras 3 wrote it."""
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        said = None
    number = said.get("keras_version") if isinstance(said, dict) else None
    if not isinstance(number, str) or not number.startswith("3."):
        raise BadConfig(
            "the model is of another Keras than version 3", "load it there and save it with Keras 3", where=METADATA
        )
