"""Declared steps around a live module of PyTorch's: it is exported with prepared rows, and asked for raw ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from penstock.build.assemble import build
from penstock.build.declaration import parse_transforms
from penstock.build.request import BuildRequest
from penstock.runtime.engine import open_engine, prove


class Chances(torch.nn.Module):
    """Two numbers and three cities become the chances of three classes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.layers(rows), dim=1)


def test_a_live_module_takes_raw_columns(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 80, 200),
            "income": rng.normal(50, 15, 200),
            "city": rng.choice([" Oslo", "PARIS", "rome"], 200),
        }
    )
    steps = parse_transforms(
        {
            "preprocess": [
                {"clean": {"columns": ["city"], "trim": True, "case": "lower"}},
                {"encode": {"columns": ["city"], "as": "one-hot"}},
                {"scale": {"columns": ["age", "income"], "as": "standard"}},
            ],
            "postprocess": [{"labels": {"0": "low", "1": "middle", "2": "high"}}, {"top": 2}],
        }
    )
    module = Chances().eval()
    request = BuildRequest(name="m", out=tmp_path, data=frame, transforms=steps, lock=False)
    package = build(module, request)
    manifest = package.manifest
    assert manifest.engine == "onnxruntime", manifest.parity
    assert manifest.classes == ("low", "middle", "high")
    assert {spec.name: spec.datatype for spec in manifest.signature.inputs} == {
        "age": "INT64",
        "income": "FP64",
        "city": "BYTES",
    }
    engine = open_engine(package)
    try:
        prove(engine, package)
        given = {name: frame[[name]].to_numpy(object if name == "city" else None) for name in frame}
        found = engine.run(given)
    finally:
        engine.close()
    city = frame["city"].str.strip().str.lower()
    scaled = frame[["age", "income"]].apply(lambda column: (column - column.mean()) / column.std(ddof=0))
    # Columns stand where they stood: each category where its column was.
    rows = np.column_stack([scaled, *[(city == one).astype(float) for one in ("oslo", "paris", "rome")]])
    wanted = module(torch.tensor(rows, dtype=torch.float32)).detach().numpy()
    assert found["probabilities"] == pytest.approx(wanted, abs=1e-5)
    assert np.array_equal(found["top_labels"][:, 0], found["label"])
