"""Make the golden registry of today's format: ``PYTHONPATH=tests python tests/golden/make_registry.py``.

Run once for each new format number; the files of older formats stay as they are, for ever.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from chain_for_tests import write_history
from penstock.registry.registry import Registry
from penstock.registry.stores.sqlite import FORMAT

HERE = Path(__file__).parent


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        registry = Registry.open(Path(folder) / "home")
        write_history(registry, Path(folder) / "package", datasets=2)
        home = registry.home
        registry.close()
        shutil.copyfile(home.database, HERE / f"registry-{FORMAT}.db")
        shutil.copyfile(home.public_key, HERE / f"registry-{FORMAT}.pub")
        shutil.copyfile(home.head, HERE / f"registry-{FORMAT}.head.json")


if __name__ == "__main__":
    main()
