"""Hugging Face folders of text networks, as one archive: numbers and lists of words, nothing that could run.

Sentence encoders and classifiers leave as a graph with their tokenizer before it, held against
`penstock.runtime.encoder`, which computes the same with numpy alone, a text at a time. Where the two differ, it stays
numpy, tokens included, behind the sandbox's walls.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np
import pandas as pd

from penstock.build.encoders.graph import text_graph
from penstock.build.format import Audit, Compiled, Original, Specs, head
from penstock.build.graphs.mapped import Widened, let_go
from penstock.errors import InvalidInput
from penstock.runtime.encoder import TextEncoder, open_encoder
from penstock.runtime.graphfile import TEXTS
from penstock.runtime.hubfolder import MAX_FILE_BYTES, PAGE_BYTES, lacking
from penstock.runtime.textfront import FORMAT, Described, describe
from penstock.tensors import Arrays, TensorSpec

TEXT = "text"
PAIR = "text_pair"
WIDENED = "widened"
"""The file in the working folder that has numbers of FP16 and BF16 as FP32."""
EXAMPLES = 24
_ODD = ("", " ", "ÀÉÎ õü ß", "水 東京タワー", "🌊 ... !?", "[SEP] <s> \u200b\ufeff", "Don't 1,234.5%")


class HuggingFaceFormat:
    """What `penstock.build.folders.archive_folder` wrote."""

    suffixes = (".zip",)

    def sniff(self, path: Path) -> str:
        """A zip with a configuration, safetensors and a tokenizer."""
        if not head(path).startswith(b"PK\x03\x04"):
            return ""
        try:
            with ZipFile(path) as archive:
                return "" if lacking(archive.namelist()) else self.suffixes[0]
        except (BadZipFile, OSError):
            return ""

    def audit(self, path: Path) -> Audit:
        """Nothing of it is ever run."""
        del path
        return Audit(names=("numpy",))

    def open(self, path: Path) -> Original:
        """The network."""
        place = Path.cwd() / WIDENED
        # What is widened is twice as long at most, and no file of the sandbox may be longer.
        widen = Widened(place, min(2 * path.stat().st_size, MAX_FILE_BYTES) // PAGE_BYTES * PAGE_BYTES)
        with let_go(path, place):
            encoder = open_encoder(path, widen=widen)
        return TextModel(encoder, path, place)


class TextModel(Original):
    """A text network as an `Original`: a text in, or two that stand together.

    Args:
        encoder: It.
        mapped: Files in which its weights lie.

    Attributes:
        example: Made-up texts, where nobody gives any.
    """

    def __init__(self, encoder: TextEncoder, *mapped: Path) -> None:
        self._encoder = encoder
        self._mapped = mapped
        self.example = _texts(encoder)

    @property
    def classes(self) -> tuple[str | int | bool, ...]:
        """Labels of a classifier."""
        return self._encoder.network.classes

    def inputs(self, frame: pd.DataFrame | None) -> Specs:
        """The texts, under the name of the data's one column, or of those called ``text`` and ``text_pair``."""
        names = [TEXT] if frame is None else list(map(str, frame.columns))
        if TEXT in names:
            names = [TEXT, PAIR] if PAIR in names else [TEXT]
        if len(names) != 1 and names != [TEXT, PAIR]:
            raise InvalidInput(
                "the model takes one column of texts, or two that stand together",
                f"call it {TEXT}, the second {PAIR}, or leave the others out",
                where="data",
            )
        if PAIR in names and not self._encoder.tokenizer.takes_two:
            raise InvalidInput("the tokenizer knows no two texts together", f"leave {PAIR} out", where="data")
        return tuple(TensorSpec(name=name, datatype="BYTES", shape=(-1, 1)) for name in names)

    def answer(self, inputs: Specs, rows: Arrays) -> Arrays:
        """What it answers, a text at a time."""
        with let_go(*self._mapped):
            return self._encoder.answer_arrays({spec.name: rows[spec.name] for spec in inputs})

    def graphs(self, inputs: Specs, outputs: Specs) -> Iterator[Compiled]:
        """One, with the tokenizer in its metadata."""
        del outputs
        yield lambda: self._graph(inputs)

    def _graph(self, inputs: Specs) -> bytes:
        encoder = self._encoder
        with let_go(*self._mapped):
            model = text_graph(encoder.network, types=encoder.types and len(inputs) > 1)
        described = Described(
            format=FORMAT,
            inputs=tuple(spec.name for spec in inputs),
            most=encoder.network.most,
            types=encoder.types and len(inputs) > 1,
            pad=encoder.network.pad,
            tokenizer=encoder.tree,
        )
        model.metadata_props.add(key=TEXTS, value=describe(described))
        written: bytes = model.SerializeToString()
        return written


def _texts(encoder: TextEncoder) -> pd.DataFrame:
    """Texts of the vocabulary's words, short and long, and odd ones; the same ones every time."""
    random = np.random.default_rng(0)
    words = [word for word in encoder.tokenizer.words if word.isalpha()][:100_000] or ["word"]
    lengths = random.integers(1, 24, EXAMPLES)
    texts = [" ".join(random.choice(words, length)) for length in lengths]
    texts.append(" ".join(random.choice(words, encoder.network.most)))
    return pd.DataFrame({TEXT: [*texts, *_ODD]})
