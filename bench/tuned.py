"""What `penstock tune` chooses for a forest, an image network and a slow Python model, and whether a hand beats it.

    python -m bench.tuned --p99-ms 50        for each: the search, then every setting to the end, and the ratio of both

The second pass is independent of the first: all settings get the same load, none is left out, and the chosen one is
found in it again. "By hand" is the best of them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from bench.choices import choices
from bench.models import make_model, models_folder
from bench.places import TUNED
from penstock.build.assemble import build
from penstock.build.request import BuildRequest
from penstock.console.tuned import tuned_page
from penstock.packages.read import Package, open_package
from penstock.tuning.search import Trial
from penstock.tuning.tune import Tuned, TuningGoal, tune

FOREST_TREES = 200


class Verdict(NamedTuple):
    """One model: what was chosen, and how it stands among all settings measured whole."""

    model: str
    tuned: Tuned
    present: Trial
    chosen: Trial
    by_hand: Trial
    search_s: float

    @property
    def ratio(self) -> float:
        """The best setting by hand over the chosen one; above 1 the hand was better."""
        chosen = self.chosen.score(self.tuned.p99_s)
        return self.by_hand.score(self.tuned.p99_s) / chosen if chosen > 0 else float("inf")


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


PACKAGES: dict[str, Callable[[], Package]] = {
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
    return Verdict(model, tuned, whole.present, same, best, search_s)


def told(verdict: Verdict) -> dict[str, object]:
    """What the documents show of it."""
    p99_s = verdict.tuned.p99_s
    return {
        "model": verdict.model,
        "p99_s": p99_s,
        "present": _setting(verdict.present, p99_s),
        "chosen": _setting(verdict.chosen, p99_s),
        "by_hand": _setting(verdict.by_hand, p99_s),
        "ratio": round(verdict.ratio, 3),
        "search_s": round(verdict.search_s, 1),
    }


def _setting(trial: Trial, p99_s: float) -> dict[str, object]:
    """A setting, its best point within the latency, and its curve: connections, answers a second, p99 in ms."""
    best = trial.best(p99_s)
    return {
        "label": trial.setting.label,
        "per_s": round(trial.score(p99_s), 1),
        "p99_ms": round(1000 * best.p99_s, 3) if best else 0.0,
        "curve": [
            [point.connections, round(point.apart_per_s, 1), round(1000 * point.p99_s, 3)] for point in trial.points
        ],
    }


def main() -> None:
    """Judge each model, and keep what the documents show."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--p99-ms", type=float, default=50.0)
    parser.add_argument("--seconds", type=float, default=25.0, help="of load, in each search")
    parser.add_argument("--whole-seconds", type=float, default=60.0, help="of load, for all settings to the end")
    parser.add_argument("--models", default=",".join(PACKAGES))
    parser.add_argument("--json", type=Path, default=TUNED, help="where the figures go")
    parser.add_argument("--pages", type=Path, default=None, help="folder for the pages that `penstock tune` writes")
    options = parser.parse_args()
    goal = TuningGoal(p99_s=options.p99_ms / 1000, seconds=options.seconds)
    found = []
    for model in options.models.split(","):
        verdict = judge(model, goal, options.whole_seconds)
        print(f"{model}: {verdict.tuned.chosen.setting.label}: {verdict.tuned.why}", flush=True)
        found.append(told(verdict))
        options.json.write_text(json.dumps(found, indent=1) + "\n")
        if options.pages is not None:
            options.pages.mkdir(parents=True, exist_ok=True)
            (options.pages / f"tune-{model}.html").write_text(tuned_page(verdict.tuned, model), encoding="utf-8")
    print(choices(found))


if __name__ == "__main__":
    main()
