"""Models of every common kind, small, and a way to package them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from models_for_tests import make_frame

from penstock.build.assemble import build
from penstock.build.request import BuildRequest
from penstock.packages.keys import new_package_key
from penstock.packages.read import Package

Pack = Callable[..., Package]


@pytest.fixture(scope="session")
def frame() -> pd.DataFrame:
    return make_frame(300, seed=0)


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    """Package a model with default settings; the package index is left alone."""
    key = new_package_key()

    def run(model: object, data: pd.DataFrame | np.ndarray | Path | None = None, **more: object) -> Package:
        return build(model, BuildRequest(name="model", out=tmp_path / "out", data=data, key=key, lock=False, **more))

    return run
