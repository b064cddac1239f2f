"""ONNX files: graphs that somebody else compiled; there is no original to compare them with but themselves."""

from __future__ import annotations

from pathlib import Path

import onnx

from penstock.build.audit import shown
from penstock.build.carried import carried
from penstock.build.format import Audit, Original, head
from penstock.build.onnx_model import OnnxModel


class OnnxFormat:
    """A serialised `ModelProto`."""

    suffixes = (".onnx",)

    def sniff(self, path: Path) -> str:
        """The IR version comes first (field 1), and the whole parses as a model with a graph."""
        start = head(path)
        if len(start) < 16 or start[0] != 0x08 or start[1] > 0x20:
            return ""
        try:
            model = onnx.load_model(path, load_external_data=False)
        except Exception:
            return ""
        return self.suffixes[0] if model.graph.node and model.opset_import else ""

    def audit(self, path: Path) -> Audit:
        """Operator domains and files outside of the graph; only ONNX's own operators carry no code."""
        model = onnx.load_model(path, load_external_data=False)
        names = tuple(sorted({shown(one.domain) or "ai.onnx" for one in model.opset_import}))
        return Audit(names=names, refused=tuple(map(shown, carried(model))))

    def open(self, path: Path) -> Original:
        """The graph."""
        return OnnxModel(onnx.load_model(path, load_external_data=False))
