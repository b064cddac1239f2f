"""Requirements become a lock: pinned, hashed, held against the hashes that were given, and nothing but names in it."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from penstock.build.dependencies.resolve import resolve
from penstock.errors import BadConfig, NotFound, Untrusted
from penstock.runtime.environments import parse


def wheel(folder: Path, name: str, version: str = "1.0", needs: str = "") -> str:
    """A wheel of one module; its SHA-256."""
    info = f"{name}-{version}.dist-info"
    requires = f"Requires-Dist: {needs}\n" if needs else ""
    files = {
        f"{name}.py": "HERE = 'yes'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A folder of tiny wheels in place of an index; SHA-256 by name."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    wheel(wheels, "trees", "0.9")
    names = {"numpy": "", "msgspec": "", "joblib": "", "pyyaml": "", "sums": "", "trees": "sums>=1"}
    return {name: wheel(wheels, name, needs=needs) for name, needs in names.items()}


def resolved(folder: Path, text: str, kind: str = "python") -> str:
    path = folder / "requirements.txt"
    path.write_text(text)
    return resolve(path, kind)


def test_all_that_is_needed_is_pinned_with_its_digest(index: dict[str, str], tmp_path: Path) -> None:
    lock = resolved(tmp_path, "# what it was trained with\ntrees >= 0.5  # any\nnothing ; python_version < '3'\n")
    assert parse(lock) == {"numpy": "1.0", "msgspec": "1.0", "sums": "1.0", "trees": "1.0"}
    assert f"trees==1.0 --hash=sha256:{index['trees']}\n" in lock
    assert "://" not in lock
    assert str(tmp_path) not in lock
    assert parse(resolved(tmp_path, "trees==0.9"))["trees"] == "0.9"


def test_what_a_format_needs_is_added(index: dict[str, str], tmp_path: Path) -> None:
    assert "joblib" in parse(resolved(tmp_path, "trees", "sklearn"))
    assert "pyyaml" in parse(resolved(tmp_path, "trees", "mlflow"))


def test_a_lock_is_taken_at_its_digests(index: dict[str, str], tmp_path: Path) -> None:
    hashes = [f"--hash=sha256:{digest}" for digest in ("0" * 64, index["trees"])]
    lock = resolved(tmp_path, f"trees==1.0 \\\n    {hashes[0]} \\\n    {hashes[1]}\n")
    assert f"trees==1.0 {hashes[1]}\n" in lock
    with pytest.raises(Untrusted, match="trees"):
        resolved(tmp_path, f"trees==1.0 {hashes[0]}\n")


@pytest.mark.parametrize(
    "line",
    [
        "--find-links somewhere",
        "-e .",
        "-r more.txt",
        "trees @ https://somewhere/trees.whl",
        "./trees.whl",
    ],
)
def test_a_line_that_is_more_than_a_name_is_refused(index: dict[str, str], tmp_path: Path, line: str) -> None:
    with pytest.raises(BadConfig, match="requirement 2") as caught:
        resolved(tmp_path, f"numpy\n{line}\n")
    assert "somewhere" not in str(caught.value)


def test_what_no_index_has_is_told(index: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="trees==7") as caught:
        resolved(tmp_path, "trees==7")
    assert caught.value.code == "build.unresolved"
    with pytest.raises(NotFound):
        resolve(tmp_path / "not-there.txt", "python")
