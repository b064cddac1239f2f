"""What is under way in the sandbox is told in words of our own, and what is too large to convert is not tried."""

from __future__ import annotations

import textwrap
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestRegressor

from penstock.build.assemble import build
from penstock.build.estimators import EstimatorModel
from penstock.build.examine import Laps, examine_original
from penstock.build.headway import STEP, headway, note
from penstock.build.request import BuildRequest

CHANCE = np.random.default_rng(0)
ROWS = pd.DataFrame(CHANCE.normal(size=(60, 3)), columns=list("abc"))


def heard(scratch: Path, said: list[str], wanted: int) -> None:
    deadline = time.monotonic() + 20
    while len(said) < wanted and time.monotonic() < deadline:
        time.sleep(0.05)


def test_each_step_is_told_once_and_what_grows_in_parts(tmp_path: Path) -> None:
    said: list[str] = []
    with headway(tmp_path, 200_000_000, said.append):
        note(tmp_path, "audit")
        heard(tmp_path, said, 1)
        with (tmp_path / "model.data").open("wb") as file:
            file.truncate(150_000_000)
        heard(tmp_path, said, 2)
        note(tmp_path, "answers")
        heard(tmp_path, said, 3)
    assert said == [
        "in the sandbox: loading it",
        "in the sandbox: setting its numbers apart, 134 of 200 MB",
        "in the sandbox: compiling and comparing it",
    ]


@pytest.mark.parametrize("words", [b"\x1b[2J", b"load" * 100, b"\xff\xfe", b"rm -rf"])
def test_nothing_that_the_sandbox_wrote_is_shown(tmp_path: Path, words: bytes) -> None:
    said: list[str] = []
    with headway(tmp_path, 1, said.append):
        (tmp_path / STEP).write_bytes(words)
        time.sleep(1.2)
    assert said == []


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "other").write_text("audit")
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / STEP).symlink_to(tmp_path / "other")
    with headway(tmp_path / "scratch", 1, said.append):
        time.sleep(1.2)
    assert said == []


@pytest.fixture(scope="module")
def forest() -> RandomForestRegressor:
    return RandomForestRegressor(5, random_state=0).fit(ROWS, ROWS["a"] * 2)


def test_what_is_too_large_to_convert_is_kept_as_it_is(forest: RandomForestRegressor, tmp_path: Path) -> None:
    small = EstimatorModel(forest)
    assert len(list(small.graphs((), ()))) > 1
    large = EstimatorModel(forest, most_compiled_bytes=10_000)
    inputs = large.inputs(ROWS)
    assert large.edges(inputs, {}) is None
    found = examine_original(large, ROWS, tmp_path, Laps())
    assert found.engine == "python"
    assert "a converter needs more memory than the sandbox has" in found.parity.reason
    assert found.parity.rows == 0


def test_its_file_counts_where_its_trees_cannot_be_seen(forest: RandomForestRegressor) -> None:
    (only,) = EstimatorModel(forest, size_bytes=1 << 40).graphs((), ())
    with pytest.raises(Exception, match="fewer or shallower trees"):
        only()


def test_packaging_tells_what_it_does(tmp_path: Path) -> None:
    source = """
        import time

        class Slow:
            def __init__(self):
                time.sleep(2)

            def predict(self, rows):
                return rows["a"].to_numpy()
    """
    (tmp_path / "slow.py").write_text(textwrap.dedent(source))
    said: list[str] = []
    build(tmp_path / "slow.py", BuildRequest(name="told", out=tmp_path, data=ROWS, lock=False, progress=said.append))
    told = said.index("in the sandbox: loading it")
    assert said.index("reading the model") < told < said.index("assembling the package")
