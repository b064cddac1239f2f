"""Pickle and joblib files: scikit-learn estimators and pipelines, LightGBM's and XGBoost's among them."""

from __future__ import annotations

from pathlib import Path

from penstock.build.estimators import EstimatorModel
from penstock.build.format import Audit, Original, head
from penstock.build.pickles.audit import audit_pickle
from penstock.build.pickles.sniff import is_pickle
from penstock.runtime.original import load_original


class SklearnFormat:
    """Whatever `joblib.dump` or `pickle.dump` wrote, compressed or not."""

    suffixes = (".joblib",)

    def sniff(self, path: Path) -> str:
        """A pickle's first opcode, directly or inside of a compressed stream."""
        return self.suffixes[0] if is_pickle(head(path)) else ""

    def audit(self, path: Path) -> Audit:
        """Every global the pickle names."""
        return audit_pickle(path)

    def open(self, path: Path) -> Original:
        """The estimator."""
        return EstimatorModel(load_original(path, "sklearn"), size_bytes=path.stat().st_size)
