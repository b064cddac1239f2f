"""A booster's file is read by building a document of it; what is held afterwards is the booster alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xgboost

MEASURED = """
import sys
from importlib import import_module
from pathlib import Path
from penstock.runtime.boosters import load_booster
def held():
    return int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0]) * 1024
import_module("xgboost")
path = Path(sys.argv[1])
before = held()
if sys.argv[2] == "penstock":
    model = load_booster(path, "xgboost")
else:
    model = import_module("xgboost").Booster(model_file=str(path))
print((held() - before) / path.stat().st_size)
"""
TREES = 2500


@pytest.mark.skipif(sys.platform != "linux", reason="what is held is told by /proc")
def test_a_booster_loaded_from_json_holds_no_more_than_some_of_its_size(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).random((500, 4))
    small = xgboost.train({"max_depth": 6}, xgboost.DMatrix(rows, rows.sum(axis=1)), 1)
    whole = json.loads(bytes(small.save_raw("json")))
    model = whole["learner"]["gradient_booster"]["model"]
    model["trees"] = [{**model["trees"][0], "id": number} for number in range(TREES)]
    model["tree_info"], model["iteration_indptr"] = [0] * TREES, list(range(TREES + 1))
    model["gbtree_model_param"]["num_trees"] = str(TREES)
    (tmp_path / "m.json").write_text(json.dumps(whole))

    def held(how: str) -> float:
        command = [sys.executable, "-c", MEASURED, str(tmp_path / "m.json"), how]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert held("penstock") < 3
    assert held("xgboost") > 5, "the library alone leaves it with the allocator"
