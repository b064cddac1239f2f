"""Hugging Face folders of sentence encoders, as one archive: numbers and lists of words, nothing that could run.

They stay as they are: `penstock.runtime.encoder` computes them with numpy, tokens included, behind the sandbox's walls.
"""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile, ZipFile

import pandas as pd

from penstock.build.format import Audit, Original, Specs, head
from penstock.errors import InvalidInput
from penstock.runtime.encoder import FILES, TextEncoder, open_encoder
from penstock.tensors import Arrays, TensorSpec

TEXT = "text"


class HuggingFaceFormat:
    """What `penstock.build.folders.archive_folder` wrote."""

    suffixes = (".zip",)

    def sniff(self, path: Path) -> str:
        """A zip with a configuration, safetensors and a tokenizer."""
        if not head(path).startswith(b"PK\x03\x04"):
            return ""
        try:
            with ZipFile(path) as archive:
                return self.suffixes[0] if set(FILES[:3]) <= set(archive.namelist()) else ""
        except (BadZipFile, OSError):
            return ""

    def audit(self, path: Path) -> Audit:
        """Nothing of it is ever run."""
        del path
        return Audit(names=("numpy",))

    def open(self, path: Path) -> Original:
        """The encoder."""
        return EncoderModel(open_encoder(path))


class EncoderModel(Original):
    """An encoder as an `Original`: one text in, its vector and its number of tokens out."""

    classes: tuple[str | int | bool, ...] = ()

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder

    def inputs(self, frame: pd.DataFrame | None) -> Specs:
        """The text, under the name of the data's one column, or of that called ``text``."""
        names = [TEXT] if frame is None else list(map(str, frame.columns))
        if TEXT in names:
            names = [TEXT]
        if len(names) != 1:
            raise InvalidInput(
                "an encoder takes one column of texts", f"call it {TEXT}, or leave the others out", where="data"
            )
        return (TensorSpec(name=names[0], datatype="BYTES", shape=(-1, 1)),)

    def answer(self, inputs: Specs, rows: Arrays) -> Arrays:
        """Vectors and numbers of tokens."""
        del inputs
        return self._encoder.answer_arrays(rows)
