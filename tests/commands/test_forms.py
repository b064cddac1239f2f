"""The table of `penstock compress` on a terminal of any width, and in a file: no figure loses its end."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from penstock.app.compressing import Compressed
from penstock.app.trials import Tried
from penstock.commands import compress
from penstock.gate.costs import Cost, RunCost

RUNS = tuple(
    RunCost(threads=threads, batch=batch, p50_s=0.0001234, p99_s=0.0261234, cpu_s=0.01)
    for threads in (1, 2)
    for batch in (1, 32)
)
COST = Cost(size_bytes=2_034_400, p50_s=0.0002126, p99_s=0.0206474, cpu_s=0.14287, memory_bytes=17_300_000, runs=RUNS)
FOUND = Compressed(
    parent="votes@1",
    before=COST,
    tried=(
        Tried(label="75% of the trees, as floats", outcome="pass", cost=COST),
        Tried(label="float16", outcome="refuse", reason="nothing to act on: no weights in FP32"),
    ),
    chosen="75% of the trees, as floats",
    why="75% of the trees, as floats takes 7.0 times less space",
    price=0.04,
)
FIGURES = ("2,034.4", "212.6", "20,647.4", "17.3", "0.14287", "pass", "votes@1 as it is")


def told(monkeypatch: pytest.MonkeyPatch, *, terminal: bool, width: int) -> str:
    screen = Console(file=StringIO(), force_terminal=terminal, width=width, highlight=False, soft_wrap=True)
    monkeypatch.setattr(compress, "out", screen)
    compress._tell(FOUND)
    return screen.file.getvalue()


def test_in_a_file_the_whole_table_stands_on_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    text = told(monkeypatch, terminal=False, width=80)
    assert "…" not in text
    (line,) = [one for one in text.splitlines() if one.startswith("votes@1")]
    for figure in (*FIGURES, "123 / 26,123", "32 rows, 1 thread"):
        assert figure in line
    assert text.count("75% of the trees, as floats takes") == 1


def test_a_narrow_window_leaves_out_other_ways_of_running_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    text = told(monkeypatch, terminal=True, width=110)
    assert "…" not in text
    for figure in FIGURES[:5]:
        assert figure in text
    assert "p50 / p99" not in text
    assert "--json" in text
