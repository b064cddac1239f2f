"""Opening a home: made on first use, settings from beside it, and only with a token it knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.app.opening import open_app
from penstock.errors import BadConfig, Forbidden


def test_a_home_is_made_on_first_use_and_opened_by_its_own_token(tmp_path: Path) -> None:
    app = open_app(tmp_path / "home")
    assert app.identity.name == "admin"
    assert open_app(tmp_path / "home").state().seq == app.state().seq


def test_settings_lie_beside_the_home_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "penstock.yaml").write_text("api: {port: 1111}\n")
    (tmp_path / "penstock.yaml").write_text("api: {port: 2222}\n")
    monkeypatch.chdir(elsewhere)
    assert open_app(tmp_path / "home").config.api.port == 2222
    (tmp_path / "penstock.yaml").unlink()
    assert open_app(tmp_path / "home").config.api.port != 1111


def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    (tmp_path / "penstock.yaml").write_text("aip: {}\n")
    with pytest.raises(BadConfig, match="api"):
        open_app(tmp_path / "home")


def test_an_unknown_token_opens_nothing(tmp_path: Path) -> None:
    open_app(tmp_path / "home")
    with pytest.raises(Forbidden):
        open_app(tmp_path / "home", token="pst_wrong")
