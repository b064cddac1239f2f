from __future__ import annotations

from pathlib import Path

from packages_for_tests import linear_package
from penstock.serve.models import Shelf


async def test_only_what_is_proven_is_handed_out(tmp_path: Path) -> None:
    good = linear_package(tmp_path / "good")
    wrong = linear_package(tmp_path / "wrong", wrong=True)
    shelf = Shelf(None, None)
    folders = {good: str(tmp_path / "good"), wrong: str(tmp_path / "wrong"), "sha256:" + "0" * 64: ""}
    assert not await shelf.ensure(folders)
    assert set(shelf.models) == {good}
    assert set(shelf.failed) == set(folders) - {good}
    assert await shelf.ensure({good: "not looked at again"})
    shelf.keep({good})
    assert shelf.failed == {}
    shelf.keep(set())
    assert shelf.models == {}
    shelf.close()


async def test_a_digest_is_not_another_package(tmp_path: Path) -> None:
    linear_package(tmp_path / "one")
    other = linear_package(tmp_path / "other", bias=1.0)
    shelf = Shelf(None, None)
    assert not await shelf.ensure({other: str(tmp_path / "one")})
    assert "manifest.json" in shelf.failed[other]
    shelf.close()


async def test_an_unsigned_package_is_refused_where_keys_are_asked_for(tmp_path: Path) -> None:
    digest = linear_package(tmp_path / "p")
    shelf = Shelf([], None)
    assert not await shelf.ensure({digest: str(tmp_path / "p")})
    shelf.close()
