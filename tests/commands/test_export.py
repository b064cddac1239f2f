"""`penstock export` as it is typed, and the folder's code as it is asked on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from exports_for_tests import BIAS, make_home, variables
from packages_for_tests import linear_answers

ROWS = [[0.2, 1.5, 3.0, 0.1]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("typed")
    make_home(folder / ".penstock")
    return folder


def type_words(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "penstock", "export", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, env=variables())


def test_says_what_it_wrote_and_the_folder_answers(folder: Path) -> None:
    said = json.loads(type_words(folder, "m@2", "--to", "lambda", "--output", "out", "--json").stdout)
    assert (said["ref"], said["kind"], said["folder"]) == ("m@2", "lambda", "out")
    assert "lambda_function.py" in said["files"]
    code = f"from lambda_function import handler; import json; print(json.dumps(handler({{'instances': {ROWS}}})))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder / "out", capture_output=True, text=True, timeout=60, env=variables()
    )
    answer = json.loads(done.stdout)
    wanted = linear_answers(np.array(ROWS, np.float32), bias=BIAS)["probabilities"]
    np.testing.assert_allclose([answer["predictions"][0]["probabilities"]], wanted, atol=1e-6)
    assert answer["model_version"] == "2"


def test_a_dry_run_writes_nothing(folder: Path) -> None:
    done = type_words(folder, "m", "--to", "azureml", "--output", "dry", "--dry-run")
    assert (done.returncode, "would write m@2 for azureml" in done.stdout) == (0, True)
    assert not (folder / "dry").exists()


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("m@2", "--to", "mainframe", "--output", "new"), 1, "registry.not_found"),
        (("m@7", "--to", "lambda", "--output", "new"), 1, "registry.not_found"),
        (("m@2", "--to", "lambda", "--output", ".penstock"), 1, "registry.conflict"),
        (("m@2", "--to", "lambda"), 2, "cli.usage"),
    ],
)
def test_refusals_have_a_code(folder: Path, words: tuple[str, ...], code: int, error: str) -> None:
    done = type_words(folder, *words, "--json")
    assert (done.returncode, json.loads(done.stderr)["error"]) == (code, error)
    assert not (folder / "new").exists()
