"""Open a home: settings, registry, and who is acting."""

from __future__ import annotations

from pathlib import Path

from penstock.app.app import App
from penstock.config import Config, load_config
from penstock.errors import Forbidden
from penstock.registry.registry import Registry


def open_app(home: Path, *, token: str = "") -> App:
    """The app at work on a home; a new home is made on first use.

    Args:
        home: The folder that holds all state.
        token: Whose hand this is; empty takes the home's own administrator.

    Raises:
        Forbidden: The token is unknown, revoked or expired, or none was given and the home's is not readable.
        BadConfig: A setting is wrong.
    """
    home = home.absolute()
    registry = Registry.open(home)
    identity = registry.identity_of(token or _local_token(home))
    return App(home=home, config=load_settings(home), registry=registry, identity=identity)


def load_settings(home: Path) -> Config:
    """The settings of a home: ``penstock.yaml`` beside it, the environment over that.

    Wherever a command is typed, command and control plane read the same file.
    """
    return load_config(home.parent)


def _local_token(home: Path) -> str:
    """The administrator's token that lies in the home folder."""
    try:
        return (home / "keys" / "token").read_text().strip()
    except OSError as error:
        raise Forbidden(
            "this home's own token cannot be read",
            "give a token with --token or PENSTOCK_TOKEN",
            code="access.no_token",
        ) from error
