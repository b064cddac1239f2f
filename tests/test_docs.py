"""The documents are true: links lead somewhere, verbs exist, the examples run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.cli import VERBS

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)#]+)(#[^)]*)?\)")
BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)


def blocks(path: Path, language: str) -> list[str]:
    return [text for name, text in BLOCK.findall(path.read_text()) if name == language]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target, _ in LINK.findall(document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name} points to {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_verbs_that_are_named_exist(document: Path) -> None:
    for block in blocks(document, "") + blocks(document, "bash"):
        for verb in re.findall(r"^penstock ([a-z]+)", block, re.MULTILINE):
            assert verb in VERBS, f"{document.name} names {verb}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_make_targets_that_are_named_exist(document: Path) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for block in blocks(document, "") + blocks(document, "bash"):
        for target in re.findall(r"^make ([a-z]+)", block, re.MULTILINE):
            assert target in targets, f"{document.name} names make {target}"


def test_both_readmes_say_the_same_things() -> None:
    english, chinese = (ROOT / "README.md").read_text(), (ROOT / "README.zh.md").read_text()
    assert BLOCK.findall(english)[1][1] == BLOCK.findall(chinese)[1][1]
    assert english.count("\n## ") == chinese.count("\n## ")
    assert [target for target, _ in LINK.findall(english) if "README" not in target] == [
        target for target, _ in LINK.findall(chinese) if "README" not in target
    ]


def test_the_readmes_notebook_example_runs(tmp_path: Path) -> None:
    (example,) = blocks(ROOT / "README.md", "python")
    setting = f"""
import numpy as np
from sklearn.linear_model import LogisticRegression
from penstock.commands import down
rng = np.random.default_rng(0)
X = rng.normal(size=(3000, 4)); y = (X[:, 0] + 0.5 * rng.normal(size=3000) > 0).astype(int)
model = LogisticRegression().fit(X[:1500], y[:1500])
X_val, y_val, rows = X[1500:], y[1500:], X[:3]
{example.replace("endpoint.rollback()", "print(p.values.tolist(), p.version, p.id)")}
"""
    (tmp_path / "penstock.yaml").write_text("api: {port: 0}\nserve: {port: 0}\n")
    done = subprocess.run([sys.executable, "-c", setting], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    subprocess.run([sys.executable, "-m", "penstock", "down"], cwd=tmp_path, capture_output=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "('1', '1', '1')" in done.stdout
