"""Archives as ``torch-model-archiver`` makes them, and ones that nobody should make."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

FUNCTION = '''
"""A handler that is a function."""
def handle(data, context):
    if data is None:
        return None
    return [one.get("body", one) for one in data]
'''
CLASS = '''
"""A handler that is a class, with a file beside it."""
import os

class Handler:
    def initialize(self, context):
        folder = context.system_properties["model_dir"]
        with open(os.path.join(folder, "weights.txt")) as file:
            self.factor = float(file.read())
        self.name = context.manifest["model"]["modelName"]

    def handle(self, data, context):
        rows = [one["body"] for one in data]
        return [{"name": self.name, "sum": self.factor * sum(row)} for row in rows]
'''
STEPS = '''
"""A handler of three steps."""
class Handler:
    def initialize(self, context):
        self.initialized = True

    def preprocess(self, data):
        return [len(one.get("data") or one.get("body")) for one in data]

    def inference(self, lengths):
        return [2 * length for length in lengths]

    def postprocess(self, doubled):
        return [str(length) for length in doubled]
'''


def archive(
    place: Path,
    source: str,
    *,
    name: str = "echo",
    entry: str = "handler.py",
    files: dict[str, str] | None = None,
    **model: str,
) -> Path:
    """One with a handler of that source; `model` adds to what its manifest says."""
    told = {"modelName": name, "handler": entry, "modelVersion": "1.0", **model}
    manifest = {"createdOn": "27/11/2026 23:35:59", "runtime": "python", "model": told, "archiverVersion": "0.12.0"}
    place.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("handler.py", source)
        for member, text in (files or {}).items():
            file.writestr(member, text)
        file.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
    return place
