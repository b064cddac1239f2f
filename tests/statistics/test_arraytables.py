"""Tables with arrays in their cells: the same after a file as before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from penstock.errors import InvalidInput
from penstock.statistics.arraytables import frame_of, holds_arrays, read_arrays, read_table, stacked, write_table

IMAGES = np.random.default_rng(0).normal(size=(7, 1, 4, 3)).astype(np.float32)
IDS = np.arange(35).reshape(7, 5)


def test_one_matrix_is_a_table_and_deeper_arrays_are_cells() -> None:
    assert frame_of(IDS).shape == (7, 5)
    frame = frame_of({"image": IMAGES, "label": np.arange(7)})
    assert frame.columns.tolist() == ["image", "label"]
    assert holds_arrays(frame["image"])
    assert not holds_arrays(frame["label"])
    assert np.array_equal(stacked(frame["image"]), IMAGES)
    assert frame_of({"ids": IDS, "mask": IDS > 3}).shape == (7, 2)
    labelled = frame_of({"X": IDS, "y": np.arange(7)})
    assert labelled.columns.tolist() == [0, 1, 2, 3, 4, "y"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int64, np.float16])
def test_a_file_gives_the_same_arrays_back(tmp_path: Path, dtype: type[np.generic]) -> None:
    frame = frame_of({"image": (IMAGES * 9).astype(dtype), "ids": IDS, "word": np.array(list("abcdefg"))})
    write_table(frame, tmp_path / "rows.parquet")
    again = read_table(tmp_path / "rows.parquet")
    assert again.columns.tolist() == ["image", "ids", "word"]
    assert again["word"].tolist() == list("abcdefg")
    for name in ("image", "ids"):
        assert stacked(again[name]).dtype == stacked(frame[name]).dtype
        assert np.array_equal(stacked(again[name]), stacked(frame[name]))


def test_arrays_alone_come_back_and_booleans_as_zeros_and_ones(tmp_path: Path) -> None:
    write_table(frame_of({"a": IMAGES, "b": IMAGES > 0}), tmp_path / "rows.parquet")
    again = read_table(tmp_path / "rows.parquet")
    assert np.array_equal(stacked(again["a"]), IMAGES)
    assert np.array_equal(stacked(again["b"]), IMAGES > 0)


def test_npz_and_npy_are_known_by_their_content(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.csv.npz", image=IMAGES, label=np.arange(7))
    (tmp_path / "rows.csv.npz").rename(tmp_path / "rows.csv")
    frame = read_arrays(tmp_path / "rows.csv")
    assert frame is not None
    assert np.array_equal(stacked(frame["image"]), IMAGES)
    np.save(tmp_path / "rows.npy", IMAGES)
    frame = read_arrays(tmp_path / "rows.npy")
    assert frame is not None
    assert np.array_equal(stacked(frame["rows"]), IMAGES)
    (tmp_path / "other").write_text("a,b\n1,2\n")
    assert read_arrays(tmp_path / "other") is None


def test_lists_of_parquet_are_arrays(tmp_path: Path) -> None:
    rows = pd.DataFrame({"v": [[1.0, 2.0], [3.0, 4.0]], "m": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]})
    rows.to_parquet(tmp_path / "rows.parquet")
    frame = read_table(tmp_path / "rows.parquet")
    assert stacked(frame["v"]).shape == (2, 2)
    assert stacked(frame["m"]).shape == (2, 2, 2)


@pytest.mark.parametrize(
    "cells", [[np.zeros(2), np.zeros(3)], [np.zeros(2), None], [np.zeros(2), "x"], [np.array([object()])] * 2]
)
def test_cells_that_are_no_arrays_of_one_shape_are_refused(cells: list[object]) -> None:
    column = pd.Series(np.empty(2, dtype=object), name="image")
    for place, cell in enumerate(cells):
        column[place] = cell
    with pytest.raises(InvalidInput):
        stacked(column)


def test_objects_and_other_numbers_of_rows_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([object()], dtype=object), allow_pickle=True)
    (tmp_path / "b.npz").write_bytes(b"PK\x03\x04 and nothing more")
    np.savez(tmp_path / "c.npz", x=np.zeros(3), y=np.zeros(4))
    for name in ("a", "b", "c"):
        with pytest.raises(InvalidInput):
            read_arrays(tmp_path / f"{name}.npz")


def test_a_damaged_header_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, np.ones((2, 4)))
    path.write_bytes(path.read_bytes().replace(b"(2, 4)", b"(2, 4 "))
    with pytest.raises(InvalidInput):
        read_arrays(path)
