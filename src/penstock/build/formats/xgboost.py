"""XGBoost's own files, JSON or UBJSON."""

from __future__ import annotations

import re
from pathlib import Path

import xgboost

from penstock.build.estimators import EstimatorModel
from penstock.build.format import Audit, Original, head, with_suffix
from penstock.runtime.original import load_original

_LEARNER = re.compile(rb'"learner"\s*:')
"""As a key: other libraries' files may hold it as the name of a column."""


class XgboostFormat:
    """What `Booster.save_model` wrote."""

    suffixes = (".json", ".ubj")

    def sniff(self, path: Path) -> str:
        """An object whose keys XGBoost's own are: the learner, in text or in binary JSON."""
        start = head(path)
        if _LEARNER.search(start) and start.lstrip().startswith(b"{"):
            return ".json"
        return ".ubj" if start.startswith(b"{L") and b"learner" in start else ""

    def audit(self, path: Path) -> Audit:
        """Numbers only: nothing in it is run."""
        del path
        return Audit(names=(xgboost.__name__,))

    def open(self, path: Path) -> Original:
        """The booster, behind a scikit-learn face."""
        estimator = load_original(with_suffix(path, self.sniff(path)), "xgboost")
        return EstimatorModel(estimator, size_bytes=path.stat().st_size)
