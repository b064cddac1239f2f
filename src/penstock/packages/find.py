"""Find the package in a folder that somebody unpacked.

Comes in: a folder. Goes out: the folder with the manifest: itself, or the only one in it, as archives often have it.
"""

from __future__ import annotations

from pathlib import Path

from penstock.errors import NotFound
from penstock.packages.manifest import MANIFEST


def package_in(folder: Path) -> Path:
    """The package's own folder; a link leads nowhere.

    Raises:
        NotFound: There is no package, or there is more than one.
    """
    if _holds(folder):
        return folder
    found = [one for one in _folders(folder) if _holds(one)]
    if len(found) != 1:
        raise NotFound(
            "there is no package in the folder" if not found else "there is more than one package in the folder",
            f"name the folder that holds {MANIFEST}",
            code="packages.none",
        )
    return found[0]


def _holds(folder: Path) -> bool:
    manifest = folder / MANIFEST
    return manifest.is_file() and not manifest.is_symlink()


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(one for one in folder.iterdir() if one.is_dir() and not one.is_symlink())
