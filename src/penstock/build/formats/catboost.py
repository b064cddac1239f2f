"""CatBoost's own files, binary or JSON."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from penstock.build.estimators import EstimatorModel
from penstock.build.format import Audit, Original, head, with_suffix
from penstock.errors import BadConfig
from penstock.runtime.original import load_original

_LIBRARY = "catboost"
_JSON = re.compile(rb'\s*\{\s*"(?:ctr_data|features_info)"\s*:')
"""Its keys are written in order."""


class CatboostFormat:
    """What `CatBoost.save_model` wrote, as ``cbm`` or ``json``."""

    suffixes = (".cbm", ".json")

    def sniff(self, path: Path) -> str:
        """The binary's first four bytes, or an object whose first key CatBoost's own is."""
        start = head(path)
        if start.startswith(b"CBM1"):
            return ".cbm"
        return ".json" if _JSON.match(start) else ""

    def audit(self, path: Path) -> Audit:
        """Numbers only: nothing in it is run."""
        del path
        return Audit(names=(_LIBRARY,))

    def open(self, path: Path) -> Original:
        """The classifier, regressor or ranker.

        Raises:
            BadConfig: CatBoost is not installed.
        """
        if find_spec(_LIBRARY) is None:
            raise BadConfig("the model needs catboost, which is not installed", "pip install 'penstock[catboost]'")
        return EstimatorModel(load_original(with_suffix(path, self.sniff(path)), "catboost"))
