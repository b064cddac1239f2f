"""Makes ``tensorflow/``: one logistic regression as a Keras file and as a SavedModel, in the frameworks' environment.

.venv/frameworks/bin/python tests/golden/make_tensorflow.py
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

WEIGHTS = np.array([[2.0], [0.5], [-1.0]], np.float32)
BIAS = np.array([0.25], np.float32)


def main() -> None:
    place = Path(__file__).with_name("tensorflow")
    model = keras.Sequential([keras.Input((3,), name="rows"), keras.layers.Dense(1, activation="sigmoid")])
    model.layers[0].set_weights([WEIGHTS, BIAS])
    model.save(place / "logistic.keras")
    model.export(place / "logistic", verbose=False)


if __name__ == "__main__":
    main()
