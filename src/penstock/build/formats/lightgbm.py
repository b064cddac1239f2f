"""LightGBM's own text files."""

from __future__ import annotations

from pathlib import Path

import lightgbm

from penstock.build.estimators import EstimatorModel
from penstock.build.format import Audit, Original, head, with_suffix
from penstock.runtime.original import load_original


class LightgbmFormat:
    """What `Booster.save_model` wrote."""

    suffixes = (".txt",)

    def sniff(self, path: Path) -> str:
        """The two lines that every such file begins with."""
        start = head(path).replace(b"\r\n", b"\n")
        return self.suffixes[0] if start.startswith(b"tree\nversion=") else ""

    def audit(self, path: Path) -> Audit:
        """Numbers only: nothing in it is run."""
        del path
        return Audit(names=(lightgbm.__name__,))

    def open(self, path: Path) -> Original:
        """The booster, behind a scikit-learn face."""
        estimator = load_original(with_suffix(path, self.suffixes[0]), "lightgbm")
        return EstimatorModel(estimator, size_bytes=path.stat().st_size)
