"""TensorFlow's SavedModel folders, in an archive; what they would run is told before TensorFlow sees them.

What comes in: what `penstock.build.sources.archive_source` wrote. What goes out: the signature that is served, as
tf2onnx compiles it or as TensorFlow itself answers it.
"""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from penstock.build.format import Audit, Original
from penstock.build.formats.python import members, unpacked
from penstock.build.sources import MLMODEL
from penstock.build.tensorflow.checkpoint_index import INDEX, MAX_INDEX_BYTES, require_contained
from penstock.build.tensorflow.model import TensorflowOriginal
from penstock.build.tensorflow.saved_graph import audit_graph
from penstock.build.tensorflow.saved_messages import read_saved_model
from penstock.errors import Untrusted
from penstock.packages.archive import unpack
from penstock.packages.tree import read_bytes, scan
from penstock.runtime.ownclass import ENTRY
from penstock.runtime.tensorflowmodel import SAVED_MODEL, SIGNATURE, open_saved

MAX_BYTES = 2 << 30
"""More than protobuf reads."""

_ASSETS = "assets/"
_FILES = re.compile(
    r"saved_model\.pb|penstock_signature|penstock_outer\.json|fingerprint\.pb|keras_metadata\.pb|saved_model_debug_info\.pb"
    r"|debug/saved_model_debug_info\.pb|variables/variables\.(index|data-\d{5}-of-\d{5})|assets(\.extra)?/.+"
)
_NAME = re.compile(r"[\w.-]{1,200}")


class SavedModelFormat:
    """What `tf.saved_model.save` and `keras.Model.export` write."""

    suffixes = (f"/{SAVED_MODEL}",)

    def sniff(self, path: Path) -> str:
        """An archive with a ``saved_model.pb`` that nobody put beside code of his own."""
        names = members(path)
        return self.suffixes[0] if SAVED_MODEL in names and not {ENTRY, MLMODEL} & names else ""

    def audit(self, path: Path) -> Audit:
        """Its operations, its files, and where its variables lie; without TensorFlow."""
        with TemporaryDirectory(prefix="audit-") as place:
            return audit_folder(unpack(path, Path(place) / "original"))

    def open(self, path: Path) -> Original:
        """The signature."""
        return TensorflowOriginal(open_saved(unpacked(path) / SAVED_MODEL))


def audit_folder(folder: Path) -> Audit:
    """What loading a SavedModel's folder would run.

    Raises:
        Untrusted: A file is there that no SavedModel has, or is a link, or one contradicts another.
        InvalidInput: It holds several models.
        BadConfig: TensorFlow 1 wrote it.
    """
    sizes = scan(folder)
    strange = [name for name in sizes if not _FILES.fullmatch(name)]
    if strange:
        # TensorFlow would read some of them instead of what was audited.
        raise Untrusted("a file is there that no SavedModel has", "leave it out", where=strange[0])
    if SIGNATURE in sizes and not _NAME.fullmatch(
        read_bytes(folder, SIGNATURE, limit=1 << 10).decode("ascii", "replace")
    ):
        raise Untrusted("the signature has a name that is none", "name it with letters and digits", where=SIGNATURE)
    saved = read_saved_model(read_bytes(folder, SAVED_MODEL, limit=MAX_BYTES), SAVED_MODEL)
    if INDEX in sizes:
        require_contained(read_bytes(folder, INDEX, limit=MAX_INDEX_BYTES), sizes)
    return audit_graph(saved, frozenset(name.removeprefix(_ASSETS) for name in sizes if name.startswith(_ASSETS)))
