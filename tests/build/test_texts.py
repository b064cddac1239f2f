"""A model that splits texts into words takes one text a row, under the name of the data's one column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from penstock.build.assemble import build
from penstock.build.request import BuildRequest
from penstock.runtime.engine import open_engine

TEXTS = ["the river is late", "snow at the gate", "a plane in the snow", "water in the river"] * 10


def test_texts_go_in_as_they_were_at_training(tmp_path: Path) -> None:
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS, ["snow" in one for one in TEXTS])
    frame = pd.DataFrame({"message": TEXTS})
    package = build(model, BuildRequest(name="weather", out=tmp_path, data=frame, lock=False))
    (spec,) = package.manifest.signature.inputs
    assert (spec.name, spec.datatype, spec.shape) == ("message", "BYTES", (-1,))
    engine = open_engine(package)
    try:
        answers = engine.run({"message": np.array(["snow", "river"], dtype=object)})
    finally:
        engine.close()
    np.testing.assert_allclose(answers["probabilities"], model.predict_proba(["snow", "river"]), atol=1e-6)
