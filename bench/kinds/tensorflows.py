"""TensorFlow: Keras' own files and SavedModels, over a table, images and texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from sklearn.datasets import load_digits

from bench.kinds.kind import Array, Brought, Kind
from bench.kinds.tables import ASKED, TRAINED, flights, numbers

PACKAGED = 200
TEXTS = ["the river is late", "snow at the gate", "a plane in the snow", "water in the river", ""]
Save = Callable[[keras.Model, Path], object]


def _keras_file(model: keras.Model, folder: Path) -> object:
    model.save(folder / "model.keras")
    return folder / "model.keras"


def _exported(model: keras.Model, folder: Path) -> object:
    model.export(folder / "saved", verbose=False)
    return folder / "saved"


def _live(model: keras.Model, folder: Path) -> object:
    del folder
    return model


def _fitted(layers: list[keras.Layer], rows: Array, truth: Array, loss: str) -> keras.Model:
    """Fitted a little; the weights are what counts here, not how good they are."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(layers)
    model.compile("adam", loss)
    model.fit(rows, truth, epochs=2, verbose=0)
    return model


def _classes(found: Array) -> dict[str, Array]:
    return {"label": found.argmax(axis=1).astype(str), "probabilities": found}


def _image(save: Save) -> Callable[[Path], Brought]:
    def bring(folder: Path) -> Brought:
        data = load_digits()
        images = (data.images[..., None] / 16).astype(np.float32)
        layers = [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(10, activation="softmax"),
        ]
        model = _fitted(layers, images[:1000], data.target[:1000], "sparse_categorical_crossentropy")
        noise = np.random.default_rng(0).normal(scale=0.1, size=images.shape).astype(np.float32)
        asked = np.concatenate([images, images + noise])
        return Brought(
            save(model, folder), images[:PACKAGED], {"image": asked}, _classes(model.predict(asked, verbose=0))
        )

    return bring


def _table(save: Save) -> Callable[[Path], Brought]:
    def bring(folder: Path) -> Brought:
        frame = flights(TRAINED, 0)
        rows, asked = (numbers(one).to_numpy(np.float32) / 100 for one in (frame, flights(ASKED, 1)))
        truth = (frame["late"] == "late").to_numpy().astype(int)
        layers = [keras.Input((3,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(2, "softmax")]
        model = _fitted(layers, rows, truth, "sparse_categorical_crossentropy")
        return Brought(save(model, folder), rows, {"row": asked}, _classes(model.predict(asked, verbose=0)))

    return bring


def _text(folder: Path) -> Brought:
    words = keras.layers.TextVectorization(output_sequence_length=6)
    words.adapt(TEXTS)
    layers = [
        keras.Input((1,), dtype="string"),
        words,
        keras.layers.Embedding(20, 4),
        keras.layers.GlobalAveragePooling1D(),
        keras.layers.Dense(1),
    ]
    keras.utils.set_random_seed(0)
    model = keras.Sequential(layers)
    frame = pd.DataFrame({"text": TEXTS * 20})
    asked = np.array([[" ".join(pair)] for pair in zip(TEXTS * 40, TEXTS[1:] * 50, strict=True)], dtype=object)
    answers = np.asarray(model(tf.constant(asked)))
    return Brought(_keras_file(model, folder), frame, {"text": asked}, {"prediction": answers})


def kinds() -> Iterator[Kind]:
    """All of them."""
    yield Kind("Keras: classifier over a table", _table(_keras_file))
    yield Kind("Keras: CNN, live", _image(_live))
    yield Kind("Keras: texts to a number", _text)
    yield Kind("SavedModel: CNN", _image(_exported))
    yield Kind("SavedModel: classifier over a table", _table(_exported))
