"""What `penstock tune` chooses for a forest, an image network and a slow Python model, and whether a hand beats it.

    python -m bench.tuned --p99-ms 50        for each: the search, then every setting to the end, and the ratio of both

The second pass is independent of the first: all settings get the same load, none is left out, and the chosen one is
found in it again. "By hand" is the best of them.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from bench.models import make_model, models_folder
from penstock.build.assemble import build
from penstock.build.request import BuildRequest
from penstock.packages.read import Package, open_package
from penstock.records import encode
from penstock.tuning.search import Trial
from penstock.tuning.tune import Tuned, TuningGoal, tune

FOREST_TREES = 200


class Verdict(NamedTuple):
    """One model: what was chosen, and how it stands among all settings measured whole."""

    model: str
    tuned: Tuned
    chosen: Trial
    by_hand: Trial
    search_s: float

    @property
    def ratio(self) -> float:
        """The best setting by hand over the chosen one; above 1 the hand was better."""
        return self.by_hand.score(self.tuned.p99_s) / self.chosen.score(self.tuned.p99_s)


def forest() -> Package:
    """A random forest of 200 trees over 12 numbers, compiled."""
    out = models_folder() / "forest"
    if not out.is_dir() or not list(out.iterdir()):
        random = np.random.default_rng(0)
        x = random.normal(size=(4000, 12)).astype(np.float32)
        y = (x[:, 0] + x[:, 1] * x[:, 2] > 0).astype(int)
        model = RandomForestClassifier(FOREST_TREES, max_depth=10, n_jobs=1, random_state=1).fit(x, y)
        build(model, BuildRequest(name="forest", out=out, data=x[:500], lock=False))
    return open_package(next(out.iterdir()))


PACKAGES = {
    "forest": forest,
    "images": lambda: make_model("images").package,
    "python": lambda: make_model("python").package,
}


def judge(model: str, goal: TuningGoal, whole_s: float) -> Verdict:
    """Tune, then measure everything."""
    package = PACKAGES[model]()
    started = time.monotonic()
    tuned = tune(package, goal)
    search_s = time.monotonic() - started
    whole = tune(package, TuningGoal(p99_s=goal.p99_s, seconds=whole_s, limits=goal.limits, whole=True))
    same = next(trial for trial in whole.trials if trial.setting == tuned.chosen.setting)
    best = max(whole.trials, key=lambda trial: trial.score(goal.p99_s))
    return Verdict(model, tuned, same, best, search_s)


def table(verdicts: list[Verdict]) -> str:
    lines = [
        "| model | today | chosen | answers/s | p99 ms | best by hand | answers/s | by hand / chosen | search s |",
        "| --- | --- | --- | ---: | ---: | --- | ---: | ---: | ---: |",
    ]
    for one in verdicts:
        p99_s = one.tuned.p99_s
        best = one.chosen.best(p99_s)
        lines.append(
            f"| {one.model} | {one.tuned.present.score(p99_s):,.0f}/s | {one.chosen.setting.label} "
            f"| {one.chosen.score(p99_s):,.0f} | {1000 * best.p99_s if best else 0:.2f} | {one.by_hand.setting.label} "
            f"| {one.by_hand.score(p99_s):,.0f} | {one.ratio:.2f} | {one.search_s:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--p99-ms", type=float, default=50.0)
    parser.add_argument("--seconds", type=float, default=25.0, help="of load, in each search")
    parser.add_argument("--whole-seconds", type=float, default=60.0, help="of load, for all settings to the end")
    parser.add_argument("--models", default=",".join(PACKAGES))
    parser.add_argument("--json", default="", help="file for every point")
    options = parser.parse_args()
    goal = TuningGoal(p99_s=options.p99_ms / 1000, seconds=options.seconds)
    verdicts = []
    for model in options.models.split(","):
        verdicts.append(judge(model, goal, options.whole_seconds))
        print(f"{model}: {verdicts[-1].tuned.chosen.setting.label}: {verdicts[-1].tuned.why}", flush=True)
    print(table(verdicts))
    if options.json:
        Path(options.json).write_bytes(encode([one._asdict() | {"by_hand_x": one.ratio} for one in verdicts]))


if __name__ == "__main__":
    main()
