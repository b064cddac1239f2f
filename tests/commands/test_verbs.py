"""Every verb as it is typed: help with an example, errors a script can read, and the exit codes 0, 1, 2, 3."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from penstock.cli import VERBS, main


def type_words(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Type `penstock ...` in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "penstock", *words], cwd=folder, capture_output=True, text=True, timeout=60
    )


@pytest.fixture(autouse=True)
def _no_settings_of_mine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PENSTOCK_HOME", "PENSTOCK_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "penstock.yaml").write_text("api: {port: 0}\nserve: {port: 0, workers: 1}\n")


def test_the_list_names_every_verb(tmp_path: Path) -> None:
    done = type_words(tmp_path, "--help")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")] == list(VERBS)
    assert not (tmp_path / ".penstock").exists()


@pytest.mark.parametrize("verb", VERBS)
def test_help_says_what_it_takes_with_an_example(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["penstock", verb, "--help"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    told = capsys.readouterr().out
    example = re.search(rf"Example: penstock {verb}\b", told)
    assert example, f"penstock {verb} --help has no example"
    run = import_module(f"penstock.commands.{VERBS[verb][0]}").run
    assert "json" in inspect.signature(run).parameters or verb == "watch"


def test_a_verb_that_is_nearly_right_is_suggested(tmp_path: Path) -> None:
    done = type_words(tmp_path, "relase", "churn@1")
    assert done.returncode == 2
    assert "did you mean release" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (["check"], 2, "cli.usage"),
        (["status", "--bogus"], 2, "cli.usage"),
        (["trace", "nothing.0"], 1, "app.no_prediction"),
        (["trace", "' OR 1=1 --"], 1, "app.no_prediction"),
        (["check", "churn@1"], 1, "registry.not_found"),
        (["compress", "churn@1"], 1, "registry.not_found"),
        (["release", "churn@1"], 1, "registry.not_found"),
        (["drift", "churn"], 1, "registry.not_found"),
        (["predict", "churn", "--data", "no.csv"], 1, "config.bad"),
        (["serve", "nowhere"], 1, "registry.not_found"),
        (["token", "rita", "--role", "king"], 1, "registry.not_found"),
        (["status", "--token", "pst_wrong"], 1, "access."),
        (["status", "--home", "/proc/self/no"], 2, "cli.system"),
    ],
)
def test_an_error_is_one_json_object_and_its_exit_code_tells_its_kind(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    code: int,
    error: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["penstock", *words, "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert ended.value.code == code, told.err
    assert told.out == ""
    problem = json.loads(told.err)
    assert set(problem) == {"error", "message", "hint", "where"}
    assert problem["error"].startswith(error)
    assert problem["message"]


def test_an_empty_home_has_a_status_and_verifies(tmp_path: Path) -> None:
    status = json.loads(type_words(tmp_path, "status", "--json").stdout)
    assert status["endpoints"] == []
    assert status["url"] == ""
    assert "no data plane" in type_words(tmp_path, "status").stdout
    found = json.loads(type_words(tmp_path, "verify", "--json").stdout)
    assert found["ok"]
    assert found["problems"] == []
    assert json.loads(type_words(tmp_path, "down", "--json").stdout) == {"stopped": []}


def test_verify_refuses_a_changed_byte_with_exit_code_1(tmp_path: Path) -> None:
    type_words(tmp_path, "status")
    key = tmp_path / ".penstock" / "head.json"
    key.write_text(key.read_text().replace('"seq":', '"seq": 1'))
    done = type_words(tmp_path, "verify", "--json")
    assert done.returncode == 1
    assert not json.loads(done.stdout or done.stderr).get("ok", False)


def test_doctor_tells_every_wall(tmp_path: Path) -> None:
    done = type_words(tmp_path, "doctor", "--json")
    assert done.returncode == 0
    lines = json.loads(done.stdout)["lines"]
    assert {"python", "sandbox", "sandbox: network"} <= {line["what"] for line in lines}
    assert all(line["message"] for line in lines)


def test_tokens_are_given_narrowed_and_taken_back(tmp_path: Path) -> None:
    made = json.loads(type_words(tmp_path, "token", "rita", "--role", "viewer", "--rate", "50", "--json").stdout)
    assert made["identity"] == "rita"
    assert type_words(tmp_path, "status", "--token", made["token"]).returncode == 0
    done = type_words(tmp_path, "token", "eve", "--role", "admin", "--token", made["token"], "--json")
    assert done.returncode == 1
    assert json.loads(done.stderr)["error"].startswith("access.")
    assert made["token"] not in done.stderr
    assert json.loads(type_words(tmp_path, "token", "rita", "--revoke", "--json").stdout)["revoked"] == 1
    assert type_words(tmp_path, "status", "--token", made["token"]).returncode == 1


def test_a_fault_of_ours_is_no_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status = import_module("penstock.commands.status")

    def broken(*_: object, **__: object) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr(status, "open_app", broken)
    monkeypatch.setattr(sys, "argv", ["penstock", "status", "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2


def test_verbs_that_move_traffic_load_no_data_tools() -> None:
    code = (
        "import sys, penstock.commands.release, penstock.commands.rollback, penstock.commands.status\n"
        "print([name for name in ('pandas', 'scipy', 'sklearn', 'pyarrow', 'starlette') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr
