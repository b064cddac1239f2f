"""Made once, with CatBoost 1.2.10, by `python tests/golden/make_catboost.py`: what the contract reads anywhere."""

from __future__ import annotations

from pathlib import Path

import catboost
import numpy as np

HERE = Path(__file__).parent / "catboost"
ROWS = np.random.default_rng(0).normal(size=(200, 3))
TRUTH = (ROWS[:, 0] + ROWS[:, 1] ** 2 > 0.7).astype(int)

if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    model = catboost.CatBoostClassifier(iterations=5, depth=3, verbose=0, allow_writing_files=False).fit(ROWS, TRUTH)
    model.save_model(HERE / "model.cbm")
    model.save_model(HERE / "model.json", format="json")
