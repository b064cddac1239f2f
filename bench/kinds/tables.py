"""The tables that tabular kinds are trained on and asked: flights, more or less, from a seed."""

from __future__ import annotations

import numpy as np
import pandas as pd

NUMBERS = ["delay", "distance", "hour"]
TRAINED = 2_000
ASKED = 10_000


def flights(rows: int, seed: int) -> pd.DataFrame:
    """Numbers with gaps, whole numbers and text; ``late`` and ``minutes`` are the truth."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "delay": random.normal(size=rows).round(1) * 10,
            "distance": random.gamma(2.0, 400.0, rows).round(2),
            "hour": random.integers(0, 24, rows),
            "carrier": random.choice(["AA", "UA", "B6", "EV"], rows),
        }
    )
    score = frame["delay"] + frame["hour"] - frame["distance"] / 100 + random.normal(size=rows) * 5
    frame.loc[random.random(rows) < 0.1, "delay"] = np.nan
    frame["late"] = np.where(score > 3, "late", "on time")
    frame["minutes"] = score
    return frame


def numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns that a model without a pipeline takes."""
    return frame[NUMBERS].fillna(0.0).astype(float)
