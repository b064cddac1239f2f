"""The contract of an export: a package and what a platform needs beside it, as a folder that somebody else deploys.

    package (verified) + what is pinned -> files beside the package -> the folder, written by the app

A target runs a release and says how it does; an export only writes. What it writes depends on nothing but its source.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from penstock.records import Record

PYTHON = "3.12"
"""The Python of what is written."""


class ExportSource(Record, frozen=True, kw_only=True):
    """What is exported.

    Attributes:
        model: The model's name.
        version: Its number in the registry.
        digest: The package's, ``sha256:<hex>``.
        requirements: Pinned: Penstock and what its data plane needs.
        documents: Swagger documents of the endpoint, by version.
    """

    model: str
    version: int
    digest: str
    requirements: tuple[str, ...]
    documents: dict[str, str] = {}

    @property
    def ref(self) -> str:
        """``name@3``."""
        return f"{self.model}@{self.version}"


class PackageExport(Protocol):
    """Writes for one platform.

    Attributes:
        package: Where the package goes in the folder.
    """

    package: str

    def files(self, source: ExportSource) -> Mapping[str, str]:
        """Every other file, text by path.

        Args:
            source: What is exported.
        """


def requirements(source: ExportSource, *more: str) -> str:
    """A requirements.txt."""
    return "".join(f"{line}\n" for line in (*source.requirements, *more))


def slug(name: str, most: int) -> str:
    """A name as platforms take it: letters, digits and hyphens, starting with a letter, 3 to `most` characters."""
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name).strip("-")
    plain = plain if plain[:1].isalpha() else f"model-{plain}"
    return (plain if len(plain) > 2 else f"{plain}-model")[:most].rstrip("-")
