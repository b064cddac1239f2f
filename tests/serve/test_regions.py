"""Shared memory: only plain objects, only their own owner's, and never a worker's life."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import shared_memory
from pathlib import Path

import numpy as np
import pytest

from penstock.errors import Conflict, InvalidInput, NotFound
from penstock.serve import regions as module
from penstock.serve.acts import Register
from penstock.serve.protocol import Request, SharedInput, Span
from penstock.serve.regions import Regions

X = np.arange(8, dtype=np.float32)


@pytest.fixture
def thing() -> Iterator[shared_memory.SharedMemory]:
    made = shared_memory.SharedMemory(create=True, size=4096)
    made.buf[: X.nbytes] = X.tobytes()
    try:
        yield made
    finally:
        made.close()
        with suppress(FileNotFoundError):
            made.unlink()


@pytest.fixture
def regions(tmp_path: Path) -> Iterator[Regions]:
    made = Regions(tmp_path)
    yield made
    made.close()


def fetched(regions: Regions, owner: str = "", *, offset: int = 0, size: int = 32) -> np.ndarray:
    one = SharedInput("X", "FP32", (size // 4,), Span("r", offset, size), "inputs[0]")
    return regions.fetch(Request({}, shared=(one,)), owner).arrays["X"]


def test_read_and_written_by_every_worker(thing: shared_memory.SharedMemory, tmp_path: Path) -> None:
    one, other = Regions(tmp_path), Regions(tmp_path)
    one.register(Register("r", f"/{thing.name}", 0, 64), "")
    np.testing.assert_array_equal(fetched(other), X)
    np.testing.assert_array_equal(fetched(other, offset=16, size=8), X[4:6])
    assert other.place({"y": Span("r", 32, 32)}, {"y": X[:4] * 2}, "") == {"y": 16}
    assert bytes(thing.buf[32:48]) == (X[:4] * 2).tobytes()
    other.unregister("r", "")
    with pytest.raises(InvalidInput, match="no such region"):
        fetched(one)


def test_a_name_means_one_thing(regions: Regions, thing: shared_memory.SharedMemory) -> None:
    regions.register(Register("r", thing.name, 0, 64), "me")
    regions.register(Register("r", thing.name, 0, 64), "me")
    regions.register(Register("r", thing.name, 0, 32), "you")
    with pytest.raises(Conflict):
        regions.register(Register("r", thing.name, 0, 32), "me")
    assert [one.size for one in regions.owned("me")] == [64]
    with pytest.raises(InvalidInput, match="no such region"):
        fetched(regions, "")
    regions.unregister("", "me")
    assert regions.owned("me") == ()
    assert len(regions.owned("you")) == 1


@pytest.mark.parametrize(
    "key",
    ["", "/", "..", "../etc/passwd", "a/b", "/a/b", "x\0y", "penstock-x", "PENSTOCK", "sem.x", "n" * 300, "é"],
)
def test_only_plain_names(regions: Regions, key: str) -> None:
    with pytest.raises(InvalidInput, match="name of a shared memory object"):
        regions.register(Register("r", key, 0, 8), "")


def test_no_links_no_pipes_no_folders(regions: Regions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OBJECTS", str(tmp_path / "shm"))
    (tmp_path / "shm").mkdir()
    (tmp_path / "secret").write_bytes(b"x" * 64)
    (tmp_path / "shm" / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "shm" / "pipe")
    (tmp_path / "shm" / "folder").mkdir()
    for key in ("link", "folder", "nothing"):
        with pytest.raises(NotFound):
            regions.register(Register("r", key, 0, 8), "")
    with pytest.raises(InvalidInput):
        regions.register(Register("r", "pipe", 0, 8), "")


@pytest.mark.parametrize(("offset", "size"), [(0, 5000), (4090, 8), (-1, 8), (0, 0), (0, -1), (2**62, 8)])
def test_a_region_lies_within_its_object(
    regions: Regions, thing: shared_memory.SharedMemory, offset: int, size: int
) -> None:
    with pytest.raises(InvalidInput):
        regions.register(Register("r", thing.name, offset, size), "")


@pytest.mark.parametrize(("offset", "size"), [(0, 68), (60, 8), (64, 4)])
def test_a_tensor_lies_within_its_region(
    regions: Regions, thing: shared_memory.SharedMemory, offset: int, size: int
) -> None:
    regions.register(Register("r", thing.name, 8, 64), "")
    with pytest.raises(InvalidInput, match="not within the region"):
        fetched(regions, offset=offset, size=size)
    with pytest.raises(InvalidInput, match="not within the region"):
        regions.check({"y": Span("r", offset, size)}, "")


def test_an_object_that_shrinks_is_an_error_and_not_a_signal(
    regions: Regions, thing: shared_memory.SharedMemory
) -> None:
    regions.register(Register("r", thing.name, 0, 4096), "")
    fetched(regions)
    os.truncate(f"/dev/shm/{thing.name}", 8)
    for _ in range(2):
        with pytest.raises(InvalidInput, match="smaller than when it was registered"):
            fetched(regions)
    with pytest.raises(InvalidInput, match="smaller"):
        regions.place({"y": Span("r", 0, 64)}, {"y": X}, "")
    assert os.stat(f"/dev/shm/{thing.name}").st_size == 8, "nothing was written beyond the end"


def test_another_object_of_the_same_name_is_not_it(thing: shared_memory.SharedMemory, tmp_path: Path) -> None:
    Regions(tmp_path).register(Register("r", thing.name, 0, 64), "")
    thing.unlink()
    again = shared_memory.SharedMemory(thing.name, create=True, size=4096)
    try:
        with pytest.raises(InvalidInput, match="another one now"):
            fetched(Regions(tmp_path))
    finally:
        again.close()
        again.unlink()


def test_an_output_larger_than_its_place_is_refused(regions: Regions, thing: shared_memory.SharedMemory) -> None:
    regions.register(Register("r", thing.name, 0, 64), "")
    with pytest.raises(InvalidInput, match="32 bytes and its place 16"):
        regions.place({"y": Span("r", 0, 16)}, {"y": X}, "")
