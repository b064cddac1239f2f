from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from dataplane_for_tests import route
from packages_for_tests import linear_package
from penstock.errors import BadConfig, NotFound, NotReady
from penstock.records import Grant, Snapshot
from penstock.serve.board import Board
from penstock.serve.models import Shelf


async def test_an_endpoint_is_unknown_or_on_its_way_or_there(tmp_path: Path) -> None:
    digest = linear_package(tmp_path / "p")
    shelf = Shelf(None, None)
    await shelf.ensure({digest: str(tmp_path / "p")})
    board = Board(loopback=True)
    with pytest.raises(NotReady):
        board.endpoint("linear")
    snapshot = Snapshot(number=4, routes=(route("linear", digest),))
    board.announce(snapshot)
    board.settled = True
    assert not board.ready()
    with pytest.raises(NotReady):
        board.endpoint("linear")
    with pytest.raises(NotFound):
        board.endpoint("nothing")
    board.move(board.lay(snapshot, shelf.models), 4)
    assert board.ready()
    assert board.endpoint("linear").route == snapshot.routes[0]
    board.draining = True
    assert not board.ready()
    with pytest.raises(BadConfig):
        board.lay(Snapshot(number=5, routes=(route("linear", digest, thresholds={"no class": 0.5}),)), shelf.models)
    shelf.close()


@pytest.mark.parametrize("header", [b"", b"Bearer", b"Basic token", b"Bearer other", b"bearer  "])
def test_only_the_token_itself_is_a_token(header: bytes) -> None:
    board = Board(loopback=True)
    grant = Grant(token_sha256=sha256(b"token").hexdigest(), subject="ann", permissions=("predict",), expires_at=10.0)
    board.announce(Snapshot(number=1, grants=(grant,)))
    assert board.grant({b"authorization": header}, 5.0) is None
    assert board.grant({b"authorization": b"bearer token"}, 5.0) == grant
    assert board.grant({b"authorization": b"Bearer token"}, 10.0) is None
