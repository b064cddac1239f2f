"""The home folder: where everything of one Penstock lies, and the names in it.

registry.db  keys/  packages/  reports/  environments/  run/  log/        one folder, private to its owner
"""

from __future__ import annotations

from pathlib import Path

from penstock.access.files import make_folder
from penstock.access.keys import PUBLIC_FILE
from penstock.errors import BadConfig
from penstock.records import Record


class Home(Record, frozen=True, kw_only=True):
    """The places in a home folder; none of them is made by asking."""

    folder: Path

    @property
    def database(self) -> Path:
        """The events."""
        return self.folder / "registry.db"

    @property
    def head(self) -> Path:
        """The signed head as it was after the last append."""
        return self.folder / "head.json"

    @property
    def lock(self) -> Path:
        """Held while the home is being made."""
        return self.folder / "lock"

    @property
    def keys(self) -> Path:
        """The signing key and the local administrator's token."""
        return self.folder / "keys"

    @property
    def public_key(self) -> Path:
        """What verifies this home's events and packages."""
        return self.keys / PUBLIC_FILE

    @property
    def token(self) -> Path:
        """The local administrator's token."""
        return self.keys / "token"

    @property
    def packages(self) -> Path:
        """Package folders by digest."""
        return self.folder / "packages"

    @property
    def reports(self) -> Path:
        """Gate reports by digest."""
        return self.folder / "reports"

    @property
    def environments(self) -> Path:
        """Python environments of sandboxed models, by the digest of their lock."""
        return self.folder / "environments"

    @property
    def run(self) -> Path:
        """What the two planes tell each other."""
        return self.folder / "run"

    @property
    def journal(self) -> Path:
        """The inference log's segments."""
        return self.folder / "log" / "journal"


def make_home(folder: Path) -> Home:
    """The home at that folder, made when it is not there.

    Raises:
        BadConfig: Something else is there, or it cannot be made.
    """
    home = Home(folder=folder.absolute())
    try:
        make_folder(home.folder)
        for inner in (home.keys, home.packages, home.reports):
            make_folder(inner)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise BadConfig("the home folder cannot be made", "name another with --home", where="home") from error
    return home
