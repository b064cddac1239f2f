"""What --data may name: each kind read in the state that was named, and found again by its digest or not at all."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from deltalake import DeltaTable, write_deltalake

from penstock.app.references import DataReference, open_reference, reopen
from penstock.app.repositories import code_state
from penstock.app.tables import dataset_of
from penstock.errors import BadConfig, NotFound, PenstockError, Untrusted
from penstock.records import Dataset

Open = Callable[..., DataReference]
ROWS = pd.DataFrame({"a": [1, 2, 3], "t": ["2024-01-01", "2024-01-03", "2024-01-02"]})
TEXT = "a,b\n1,x\n2,y\n"


@pytest.fixture
def find(tmp_path: Path) -> Open:
    """Open a reference, in a home of the test's own."""
    return lambda named: open_reference(Path(named), home=tmp_path / "home")


@pytest.fixture
def again(tmp_path: Path) -> Callable[[DataReference], DataReference]:
    """Write down what was found, and find it by that alone."""

    def run(found: DataReference) -> DataReference:
        return reopen(written(found), home=tmp_path / "home")

    return run


def written(found: DataReference) -> Dataset:
    return dataset_of(found, found.read(), name="rows", role="validation")


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=Vera", "-c", "user.email=vera@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits of ``data/rows.csv``, the second with another row."""
    place = tmp_path / "repository"
    (place / "data").mkdir(parents=True)
    git(place, "init", "--quiet")
    for number, text in enumerate((TEXT, TEXT + "3,z\n")):
        (place / "data" / "rows.csv").write_text(text)
        git(place, "add", ".")
        git(place, "commit", "--quiet", "-m", f"data {number}")
    return place


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


# -- files and folders ---------------------------------------------------------------------------


def test_a_file_is_its_bytes(tmp_path: Path, find: Open) -> None:
    (tmp_path / "rows@home.csv").write_text(TEXT)
    found = find(tmp_path / "rows@home.csv")
    assert found.digest == f"sha256:{hashlib.sha256(TEXT.encode()).hexdigest()}"
    assert (found.kind, found.revision) == ("file", "")
    assert found.read()["b"].tolist() == ["x", "y"]


def test_what_is_written_down_has_rows_columns_times_and_a_profile_without_any_row(tmp_path: Path, find: Open) -> None:
    table = ROWS.assign(a=[1.0, None, 3.0], big=[1e308, 1e308, float("inf")])
    table.to_parquet(tmp_path / "rows.parquet")
    dataset = dataset_of(find(tmp_path / "rows.parquet"), table, name="rows", role="test", time="t")
    assert (dataset.rows, dataset.columns["a"]) == (3, "float64")
    assert (dataset.until - dataset.since) == 2 * 86_400
    assert (dataset.profile["a"].missing, dataset.profile["a"].mean, dataset.profile["t"].distinct) == (1, 2.0, 3)
    assert dataset.profile["big"].mean is None  # beyond all numbers
    assert dataset_of(find(tmp_path / "rows.parquet"), table, name="rows", role="test").since == 0


def folder(place: Path, order: list[str], *, changed: str = "") -> Path:
    """Parquet files, written in an order."""
    for name in order:
        file = place / f"day={name}" / "part.parquet"
        file.parent.mkdir(parents=True)
        rows = pd.DataFrame({"a": [int(name), 7 if name == changed else 0]})
        rows.to_parquet(file, index=False)
    return place


def test_a_folders_digest_does_not_ask_in_which_order_it_was_written(tmp_path: Path, find: Open) -> None:
    one, other = folder(tmp_path / "x=1" / "one", ["1", "2", "3"]), folder(tmp_path / "other", ["3", "1", "2"])
    (one / "_SUCCESS").touch()
    (one / "README.md").write_text("no rows")
    assert find(one).digest == find(other).digest
    frame = find(one).read()
    assert sorted(frame["a"]) == [0, 0, 0, 1, 2, 3]
    assert sorted(frame.columns) == ["a", "day"]  # and not the x further up
    assert find(folder(tmp_path / "third", ["1", "2", "3"], changed="2")).digest != find(one).digest
    (other / "day=3").rename(other / "day=4")
    assert find(other).digest != find(one).digest


def test_a_changed_or_larger_folder_is_not_the_one_that_was_registered(
    tmp_path: Path, find: Open, again: Callable[[DataReference], DataReference]
) -> None:
    found = find(folder(tmp_path / "rows", ["1"]))
    assert again(found).digest == found.digest
    folder(tmp_path / "rows", ["2"])
    with pytest.raises(Untrusted):
        again(found)


# -- Delta ---------------------------------------------------------------------------------------


@pytest.fixture
def delta(tmp_path: Path) -> Path:
    """Version 0 has two rows, version 1 three, version 2 replaced them all."""
    place = tmp_path / "a table"
    write_deltalake(str(place), pd.DataFrame({"a": [1, 2], "k": ["x y", "z"]}), partition_by=["k"])
    write_deltalake(str(place), pd.DataFrame({"a": [3], "k": ["z"]}), mode="append")
    write_deltalake(str(place), pd.DataFrame({"a": [9], "k": ["z"]}), mode="overwrite")
    return place


def test_an_older_version_of_a_delta_table_gives_the_older_rows(
    delta: Path, find: Open, again: Callable[[DataReference], DataReference]
) -> None:
    rows = {number: sorted(find(f"{delta}@{number}").read()["a"]) for number in range(3)}
    assert rows == {0: [1, 2], 1: [1, 2, 3], 2: [9]}
    newest = find(delta)
    assert (newest.kind, newest.revision) == ("delta", "2")
    assert len({find(f"{delta}@{number}").digest for number in range(3)}) == 3
    older = find(f"{delta}@0")
    write_deltalake(str(delta), pd.DataFrame({"a": [5], "k": ["z"]}), mode="append")
    assert sorted(again(older).read()["a"]) == [1, 2]
    assert again(newest).read()["a"].tolist() == [9]


def test_a_version_that_is_not_there_is_refused(delta: Path, find: Open) -> None:
    for version in ("7", "x", "-1", "99999999999999999999"):
        with pytest.raises(BadConfig):
            find(f"{delta}@{version}")
    first = find(f"{delta}@0")
    DeltaTable(str(delta)).vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    with pytest.raises(NotFound, match="gone"):
        find(f"{delta}@0")
    with pytest.raises(NotFound):
        reopen(Dataset(name="n", digest=first.digest, rows=2, place=str(delta), kind="delta", revision="0"), home=delta)


def test_a_delta_file_that_somebody_changed_is_not_what_was_registered(delta: Path, find: Open, tmp_path: Path) -> None:
    found = find(f"{delta}@2")
    known = written(found)
    (file,) = (delta / name for name in found.source.files)  # type: ignore[union-attr]
    pd.DataFrame({"a": [10]}).to_parquet(file, index=False)
    with pytest.raises(Untrusted):
        reopen(known, home=tmp_path)


# -- git -----------------------------------------------------------------------------------------


def test_a_file_at_a_commit_is_read_as_it_was(
    repository: Path, find: Open, again: Callable[[DataReference], DataReference]
) -> None:
    file = repository / "data" / "rows.csv"
    older = find(f"{file}@HEAD~1")
    assert (older.kind, older.revision) == ("git", git(repository, "rev-parse", "HEAD~1"))
    assert len(older.read()) == 2
    assert len(find(f"{file}@main").read()) == 3
    git(repository, "rm", "-r", "--quiet", "data")
    git(repository, "commit", "--quiet", "-m", "gone")
    assert again(older).read().equals(older.read())
    assert find(f"{file}@HEAD~2").digest == older.digest  # though its folder is gone from the working tree


def test_no_such_revision_no_such_file_no_repository(repository: Path, tmp_path: Path, find: Open) -> None:
    file = repository / "data" / "rows.csv"
    for named in (f"{file}@nowhere", f"{file}@--help", f"{file}@", f"{tmp_path / 'rows.csv'}@HEAD", file.parent / "no"):
        with pytest.raises(BadConfig):
            find(named)
    with pytest.raises(NotFound):
        find(f"{file.with_name('other.csv')}@HEAD")


@pytest.mark.parametrize("by_commit", [False, True], ids=["working tree", "commit"])
def test_a_git_lfs_pointer_stands_for_its_object(
    repository: Path, find: Open, again: Callable[[DataReference], DataReference], by_commit: bool
) -> None:
    oid = hashlib.sha256(TEXT.encode()).hexdigest()
    pointer = repository / "large.csv"
    pointer.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(TEXT)}\n")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "pointer")
    named = f"{pointer}@HEAD" if by_commit else str(pointer)
    with pytest.raises(NotFound, match="git-lfs"):
        find(named)
    stored = repository / ".git" / "lfs" / "objects" / oid[:2] / oid[2:4] / oid
    stored.parent.mkdir(parents=True)
    stored.write_text("a,b\n666,x\n")
    with pytest.raises(Untrusted):
        find(named)
    stored.write_text(TEXT)
    found = find(named)
    assert found.digest == f"sha256:{oid}"
    assert found.read()["a"].tolist() == [1, 2]
    stored.unlink()
    assert again(found).digest == found.digest  # kept in the home


# -- DVC -----------------------------------------------------------------------------------------


def track(folder: Path, data: bytes, *, name: str = "rows.csv") -> Path:
    """What ``dvc add`` writes, by its format's description."""
    pointer = folder / f"{name}.dvc"
    pointer.write_text(f"outs:\n- md5: {md5(data)}\n  size: {len(data)}\n  hash: md5\n  path: {name}\n")
    return pointer


def cached(folder: Path, data: bytes, *, ending: str = "", layout: str = ".dvc/cache/files/md5") -> str:
    name = md5(data) + ending
    place = folder / layout / name[:2] / name[2:]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    return name


def test_a_dvc_file_stands_for_the_data_that_are_checked_out(
    tmp_path: Path, find: Open, again: Callable[[DataReference], DataReference]
) -> None:
    (tmp_path / "rows.csv").write_text(TEXT)
    found = find(track(tmp_path, TEXT.encode()))
    assert (found.kind, found.revision) == ("dvc", f"md5:{md5(TEXT.encode())}")
    assert found.read()["b"].tolist() == ["x", "y"]
    assert again(found).digest == found.digest
    (tmp_path / "rows.csv").write_text(TEXT + "4,w\n")
    with pytest.raises(Untrusted):
        find(tmp_path / "rows.csv.dvc")
    with pytest.raises(PenstockError):
        again(found)


@pytest.mark.parametrize("layout", [".dvc/cache/files/md5", ".dvc/cache", "elsewhere/files/md5"])
def test_data_that_changed_or_are_not_checked_out_come_from_dvcs_cache(
    tmp_path: Path, find: Open, again: Callable[[DataReference], DataReference], layout: str
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text(
        "[core]\n    analytics = false\n" + ("[cache]\n    dir = ../elsewhere\n" if "elsewhere" in layout else "")
    )
    pointer = track(tmp_path / "data", TEXT.encode())
    with pytest.raises(NotFound, match="DVC"):
        find(pointer)
    cached(tmp_path, TEXT.encode(), layout=layout)
    (tmp_path / "data" / "rows.csv").write_text("a,b\n666,x\n")
    found = find(pointer)
    assert found.read()["a"].tolist() == [1, 2]
    track(tmp_path / "data", b"a,b\n5,x\n")  # the pointer went on; what was registered did not
    assert again(found).digest == found.digest


def test_a_cache_that_rotted_is_not_believed(tmp_path: Path, find: Open) -> None:
    name = cached(tmp_path, TEXT.encode())
    (tmp_path / ".dvc/cache/files/md5" / name[:2] / name[2:]).write_text("a,b\n666,x\n")
    with pytest.raises(NotFound):
        find(track(tmp_path, TEXT.encode()))


def test_a_dvc_file_of_an_older_commit_names_the_older_data(repository: Path, find: Open) -> None:
    pointer = track(repository, TEXT.encode(), name="more.csv")
    git(repository, "add", "more.csv.dvc")
    git(repository, "commit", "--quiet", "-m", "old pointer")
    cached(repository, TEXT.encode())
    newer = TEXT.encode() + b"3,z\n"
    (repository / "more.csv").write_bytes(newer)
    track(repository, newer, name="more.csv")
    assert len(find(pointer).read()) == 3
    assert len(find(f"{pointer}@HEAD").read()) == 2


def test_a_folder_under_dvc_is_taken_when_every_file_is_what_the_list_says(tmp_path: Path, find: Open) -> None:
    place = folder(tmp_path / "rows", ["1", "2"])
    entries = [
        {"md5": md5(file.read_bytes()), "relpath": file.relative_to(place).as_posix()}
        for file in sorted(place.rglob("*.parquet"))
    ]
    name = cached(tmp_path, json.dumps(entries).encode(), ending=".dir")
    (tmp_path / "rows.dvc").write_text(f"outs:\n- md5: {name}\n  nfiles: 2\n  path: rows\n")
    assert sorted(find(tmp_path / "rows.dvc").read()["a"]) == [0, 0, 1, 2]
    folder(place, ["3"])
    with pytest.raises(Untrusted):
        find(tmp_path / "rows.dvc")


@pytest.mark.parametrize(
    "text",
    ["", "[", "outs: []", "outs: [{path: a}]", "outs: [{md5: zz, path: a}]",
     f"outs: [{{md5: {'ab' * 16}, path: ../../etc/passwd}}]", f"outs: [{{md5: {'ab' * 16}, path: /etc/passwd}}]"],
)  # fmt: skip
def test_what_is_no_dvc_file_or_points_outside_is_refused(tmp_path: Path, find: Open, text: str) -> None:
    (tmp_path / "rows.csv.dvc").write_text(text)
    with pytest.raises(BadConfig):
        find(tmp_path / "rows.csv.dvc")


# -- the code's own state ------------------------------------------------------------------------


def test_the_codes_commit_is_told_with_what_is_in_none(repository: Path, tmp_path: Path) -> None:
    home = repository / ".penstock"
    clean = {"commit": git(repository, "rev-parse", "HEAD"), "uncommitted": "nothing"}
    assert code_state(repository, apart=home) == clean
    git(repository, "remote", "add", "origin", "https://vera:secret@example.org/models.git?token=1")
    (repository / "data" / "rows.csv").write_text("changed")
    (repository / "train.py").write_text("new")
    (home / "packages").mkdir(parents=True)
    (home / "packages" / "model.py").write_text("not hers")
    state = code_state(repository / "data", apart=home)
    assert state["uncommitted"] == "1 changed, 1 not in git"
    assert state["repository"] == "https://example.org/models.git"
    assert code_state(tmp_path, apart=home) == {}
