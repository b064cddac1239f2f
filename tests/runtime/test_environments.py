"""A lock is met by this interpreter, or an environment is built from hashes, once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import pytest

from penstock.errors import BadConfig
from penstock.runtime import environments
from penstock.runtime.environments import differing, environment, parse, require_here

HERE = {name: version(name) for name in ("numpy", "msgspec", "scikit-learn")}
HASH = "--hash=sha256:" + "0" * 64


def lock(folder: Path, pins: dict[str, str], *, hashes: bool = True) -> Path:
    path = folder / "requirements.lock"
    lines = [f"{name}=={pin} \\\n    {HASH}" if hashes else f"{name}=={pin}" for name, pin in pins.items()]
    path.write_text("# made for a test\n" + "\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("hashes", [True, False])
def test_a_lock_met_here_needs_nothing_built(tmp_path: Path, hashes: bool) -> None:
    assert environment(lock(tmp_path, HERE, hashes=hashes), tmp_path / "cache") is None
    assert not (tmp_path / "cache").exists()


def test_names_are_compared_as_the_index_does(tmp_path: Path) -> None:
    text = f"Scikit_Learn=={HERE['scikit-learn']} {HASH}\nnumpy[extra] == {HERE['numpy']}  # why\n"
    text += "none==1 ; python_version < '3'\n"
    assert parse(text) == {"scikit-learn": HERE["scikit-learn"], "numpy": HERE["numpy"], "none;": "1"}
    assert differing(parse(text)) == []
    assert differing({"numpy": "0.1", "nothing-like-it": "1", "msgspec;": "0"}) == [
        "msgspec",
        "nothing-like-it",
        "numpy",
    ]


@pytest.mark.parametrize("line", ["numpy", "numpy>=1", "-r other.txt", "--find-links x", "git+https://x/y", "./wheel"])
def test_a_line_that_is_no_pin_is_refused(line: str) -> None:
    with pytest.raises(BadConfig, match="line 2"):
        parse(f"numpy==1\n{line}\n")


def test_a_difference_without_hashes_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="scikit-learn"):
        environment(lock(tmp_path, HERE | {"scikit-learn": "0.1"}, hashes=False), tmp_path / "cache")


def test_a_lock_that_a_worker_could_not_live_on_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="lacks msgspec"):
        environment(lock(tmp_path, {"numpy": "0.1"}), tmp_path / "cache")


def test_a_build_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(BadConfig, match="cannot be built"):
        environment(lock(tmp_path, {"numpy": "0.1", "msgspec": "0.1"}), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_environment_is_built_once_from_hashed_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tiny wheels stand for numpy and msgspec, so that no index is needed."""
    path = _tiny(tmp_path, monkeypatch)
    python = environment(path, tmp_path / "cache")
    assert python is not None
    code = "import numpy, sys; print(numpy.HERE, sys.prefix)"
    out = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert out == ["yes", str(python.parents[1])]
    monkeypatch.setattr(environments, "_build", lambda *_: pytest.fail("built twice"))
    assert environment(path, tmp_path / "cache") == python
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == [python.parents[1].name]


def test_a_changed_wheel_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for name in ("numpy", "msgspec"):
        _wheel(wheels, name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    with pytest.raises(BadConfig, match="cannot be built"):
        environment(lock(tmp_path, {"numpy": "0.0.1", "msgspec": "0.0.1"}), tmp_path / "cache")


def _wheel(folder: Path, name: str) -> str:
    """A wheel of one module; its SHA-256."""
    import hashlib
    import zipfile

    info = f"{name}-0.0.1.dist-info"
    files = {
        f"{name}.py": "HERE = 'yes'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.0.1\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    path = folder / f"{name}-0.0.1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_two_processes_build_one_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _tiny(tmp_path, monkeypatch)
    builds: list[str] = []
    run = environments._run
    monkeypatch.setattr(environments, "_run", lambda command: (builds.append(command[3]), run(command)))
    # Locks are of open files, so that two threads are kept apart as two processes are.
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: environment(path, tmp_path / "cache"), range(3)))
    assert len(set(found)) == 1
    assert len(builds) == 2, "one of three makes the folder and installs into it"
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == [found[0].parents[1].name]


def test_a_killed_build_leaves_nothing_that_anybody_takes_for_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, cache = _tiny(tmp_path, monkeypatch), tmp_path / "cache"
    code = "import sys; from pathlib import Path; from penstock.runtime.environments import environment as e\n"
    code += "e(Path(sys.argv[1]), Path(sys.argv[2]))"
    builder = subprocess.Popen([sys.executable, "-c", code, str(path), str(cache)], start_new_session=True)
    halves: list[Path] = []
    while not halves:
        assert builder.poll() is None, "it was built before anybody could kill it"
        halves = [one for one in cache.glob(".building-*") if (one / "pyvenv.cfg").exists()]
    os.killpg(builder.pid, signal.SIGKILL)
    builder.wait()
    assert halves[0].is_dir()
    assert not [one for one in cache.iterdir() if not one.name.startswith(".")]
    python = environment(path, cache)
    assert python is not None
    assert python.exists()
    assert [entry.name for entry in cache.iterdir()] == [python.parents[1].name]


@pytest.mark.parametrize("how", ["beside a hash", "on a line of hashes", "behind a marker", "on a line that goes on"])
def test_a_lock_tells_the_installer_nothing_but_pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Options for pip: wheels only is not true any more, and a foreign file's build would run out here."""
    path = _tiny(tmp_path, monkeypatch)
    digest = _source(tmp_path / "wheels", "evil", tmp_path / "ran")
    option = "--no-binary=evil"
    lines = {
        "beside a hash": f"evil==1.0 --hash=sha256:{digest} {option}\n",
        "on a line of hashes": f"--hash=sha256:{digest} {option}\nevil==1.0 --hash=sha256:{digest}\n",
        "behind a marker": f"evil==1.0 ; python_version > '3' {option} --hash=sha256:{digest}\n",
        "on a line that goes on": f"evil==1.0 --hash=sha256:{digest} \\\n --hash=sha256:{digest} {option}\n",
    }
    path.write_text(lines[how] + path.read_text())
    with pytest.raises(BadConfig) as refusal:
        environment(path, tmp_path / "cache")
    assert not (tmp_path / "ran").exists()
    assert refusal.value.code == "runtime.bad_lock"


@pytest.mark.parametrize(
    "line",
    [
        "numpy==${PENSTOCK_SECRET}",
        "numpy==1 --hash=sha256:${PENSTOCK_SECRET}",
        "--hash=sha256:00 -r /etc/passwd",
        "numpy==1 @ file:///tmp/x",
        "numpy==1\x0b--find-links=/elsewhere",
        "numpy==1 --hash=md5:00",
        "numpy==1 --config-settings=a=b",
        "numpy[a --hash=x]==1",
        f"numpy==1\\\n-r /etc/passwd {HASH}",
    ],
)
def test_a_lock_has_no_second_meaning_for_another_reader(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_SECRET", "canary")
    with pytest.raises(BadConfig) as refusal:
        parse(f"{line}\n")
    assert "canary" not in str(refusal.value)


def test_what_has_an_environment_of_its_own_is_not_run_here(tmp_path: Path) -> None:
    require_here(lock(tmp_path, HERE))
    with pytest.raises(BadConfig, match="numpy are others here"):
        require_here(lock(tmp_path, HERE | {"numpy": "1.0"}))


def _source(folder: Path, name: str, marker: Path) -> str:
    """A source distribution whose build leaves a mark; its SHA-256."""
    import hashlib
    import io
    import tarfile

    files = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "evil"\nbackend-path = ["."]\n',
        "evil.py": f"open({str(marker)!r}, 'w').write('ran')\n",
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
    }
    place = folder / f"{name}-1.0.tar.gz"
    with tarfile.open(place, "w:gz") as tar:
        for file, text in files.items():
            member = tarfile.TarInfo(f"{name}-1.0/{file}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return hashlib.sha256(place.read_bytes()).hexdigest()


def _tiny(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lock of two tiny wheels."""
    wheels = folder / "wheels"
    wheels.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    hashes = {name: _wheel(wheels, name) for name in ("numpy", "msgspec")}
    path = folder / "requirements.lock"
    path.write_text("".join(f"{name}==0.0.1 --hash=sha256:{digest}\n" for name, digest in hashes.items()))
    return path
