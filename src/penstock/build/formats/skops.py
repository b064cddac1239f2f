"""skops files: a zip of a schema and arrays; nothing in it is a pickle, and what it names is listed by skops itself."""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile, ZipFile

import skops.io

from penstock.build.estimators import EstimatorModel
from penstock.build.format import Audit, Original, head
from penstock.build.pickles.audit import allowed, shown
from penstock.packages.archive import require_plain
from penstock.runtime.original import load_original


class SkopsFormat:
    """What `skops.io.dump` wrote."""

    suffixes = (".skops",)

    def sniff(self, path: Path) -> str:
        """A zip with skops' schema in it."""
        if not head(path).startswith(b"PK\x03\x04"):
            return ""
        try:
            with ZipFile(path) as archive:
                return self.suffixes[0] if "schema.json" in archive.namelist() else ""
        except (BadZipFile, OSError):
            return ""

    def audit(self, path: Path) -> Audit:
        """Types that skops does not trust by itself; of them those that no model needs are refused."""
        require_plain(path)
        names = sorted(skops.io.get_untrusted_types(file=path))
        refused = tuple(shown(name) for name in names if not allowed(name))
        return Audit(names=("sklearn", *map(shown, names)), refused=refused)

    def open(self, path: Path) -> Original:
        """The estimator."""
        return EstimatorModel(load_original(path, "skops"))
