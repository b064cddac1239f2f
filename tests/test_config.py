"""Settings: file < environment < flags, typed, and an unknown key is an error that helps."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from penstock.config import PATHS, VARIABLES, Config, ModelConfig, load_config, write_inferred
from penstock.errors import BadConfig

GOOD = """\
home: state
policy: rules.yaml
approvals: [approver]
api: {port: 9001}
serve:
  workers: 4
limits: {deadline_s: 2.5, log: strict}
guards: {steps: [0.2, 0.6]}
monitors: {drift: true, window: day}
feedback: {retrain: [python, train.py, --fast]}
models:
  flights: {data: {train: a.parquet, validation: b.parquet}, label: late, time: when}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "penstock.yaml"
    made.write_text(GOOD)
    return made


def test_defaults_need_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config(environment={}) == Config()
    assert Config().api.host == Config().serve.host == "127.0.0.1", "loopback by default"


def test_the_file_is_read(file: Path) -> None:
    config = load_config(file, environment={})
    assert config.home == str(file.parent / "state")
    assert config.policy == str(file.parent / "rules.yaml")
    assert (config.api.port, config.serve.workers, config.approvals) == (9001, 4, ("approver",))
    assert (config.limits.deadline_s, config.limits.log, config.limits.queue) == (2.5, "strict", 1024)
    assert config.guards.steps == (0.2, 0.6)
    assert config.monitors == {"drift": True, "window": "day"}
    assert config.feedback.retrain == ("python", "train.py", "--fast")
    assert config.models["flights"].label == "late"


def test_a_folder_may_hold_the_file_and_no_other_is_taken(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_config(file.parent, environment={}).api.port == 9001
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    assert load_config(tmp_path / "elsewhere", environment={}).api.port != 9001


def test_environment_over_file_and_flags_over_both(file: Path) -> None:
    environment = {"PENSTOCK_API_PORT": "9002", "PENSTOCK_SERVE_WORKERS": "3", "PENSTOCK_GUARDS_STEPS": "[0.3]"}
    config = load_config(file, environment=environment, flags={"api.port": 9003, "serve.workers": None})
    assert (config.api.port, config.serve.workers, config.guards.steps) == (9003, 3, (0.3,))
    assert load_config(file, environment={"PENSTOCK_HOME": "/there"}).home == "/there"


@pytest.mark.parametrize("path", sorted(PATHS))
def test_every_setting_has_a_variable(path: str) -> None:
    assert [variable for variable, known in VARIABLES.items() if known == path]


@pytest.mark.parametrize(
    ("text", "where", "hint"),
    [
        ("hoem: x", "hoem", "home"),
        ("api: {prot: 1}", "api.prot", "api.port"),
        ("limits: {deadline: 1}", "limits.deadline", "limits.deadline_s"),
        ("models: {m: {lable: x}}", "models.m.lable", "models.m.label"),
        ("exporters: {e: {uri: x}}", "exporters.e.uri", "exporters.e.url"),
        ("exporters: {e: x}", "exporters.e", "name: value"),
        ("api: 3", "api", "name: value"),
        ("- a", "penstock.yaml", "name: value"),
    ],
)
def test_an_unknown_key_is_named_and_the_nearest_suggested(tmp_path: Path, text: str, where: str, hint: str) -> None:
    file = tmp_path / "penstock.yaml"
    file.write_text(text)
    with pytest.raises(BadConfig) as caught:
        load_config(file, environment={})
    assert caught.value.where == where
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("api: {port: secret-word}", "api.port"),
        ("api: {port: 70000}", "api.port"),
        ("serve: {workers: -1}", "serve.workers"),
        ("limits: {log: secret-word}", "limits.log"),
        ("limits: {deadline_s: 0}", "limits.deadline_s"),
        ("limits: {queue: 0}", "limits.queue"),
        ("limits: {max_rows: 0}", "limits.max_rows"),
        ("guards: {alpha: 1}", "guards.alpha"),
        ("guards: {share: 0}", "guards.share"),
        ("guards: {steps: [0.5, 0.1]}", "guards.steps"),
        ("guards: {margin: 0.5}", "guards"),
        ("exporters: {e: {url: 'ftp://secret-word'}}", "exporters.e.url"),
        ("exporters: {e: {share: 0, url: 'http://a'}}", "exporters.e.share"),
        ("exporters: {e: {mode: secret-word, url: 'http://a'}}", "exporters[...].mode"),
        ("home: ''", "home"),
        ("approvals: [[secret-word]]", "approvals[0]"),
        ("a: 1\na: 2", "penstock.yaml, line 2"),
        ("a: [", "penstock.yaml, line 1"),
        ("a: !!python/object/apply:os.system [id]", "penstock.yaml, line 1"),
        ("a: \x00", "penstock.yaml"),
    ],
)
def test_a_bad_value_is_refused_by_its_path_and_never_echoed(tmp_path: Path, text: str, where: str) -> None:
    file = tmp_path / "penstock.yaml"
    file.write_text(text)
    with pytest.raises(BadConfig) as caught:
        load_config(file, environment={})
    assert caught.value.where == where
    assert caught.value.hint
    assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize("name", ["PENSTOCK_HOEM", "PENSTOCK_API_PROT", "PENSTOCK_LIMITS_X"])
def test_a_misspelt_variable_is_an_error(name: str, file: Path) -> None:
    with pytest.raises(BadConfig) as caught:
        load_config(file, environment={name: "1"})
    assert caught.value.where == name


def test_other_variables_are_not_ours(file: Path) -> None:
    load_config(file, environment={"PENSTOCK_TOKEN": "t", "PENSTOCK_ALL_KILL_POINTS": "1", "PATH": "x"})


def test_an_unknown_flag_is_an_error(file: Path) -> None:
    with pytest.raises(BadConfig, match="did you mean"):
        load_config(file, environment={}, flags={"api.prot": 1})


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(BadConfig):
        load_config(tmp_path / "none.yaml", environment={})


@given(data=st.binary(max_size=200))
def test_any_bytes_are_settings_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "penstock.yaml"
    file.write_bytes(data)
    with suppress(BadConfig):
        load_config(file, environment={})


def test_what_was_inferred_is_written_and_read_back(tmp_path: Path) -> None:
    file = tmp_path / "penstock.yaml"
    inferred = Config(models={"m": ModelConfig(data="v.parquet", label="late")})
    assert "models" in write_inferred(inferred, file)
    assert load_config(file, environment={}).models == inferred.models
    assert file.read_text().startswith("#")
    assert write_inferred(inferred, file) == ()


def test_what_a_person_wrote_stays(tmp_path: Path) -> None:
    file = tmp_path / "penstock.yaml"
    file.write_text("# mine\nmodels: {m: {label: y}}  # for now\n")
    written = write_inferred(Config(approvals=("approver",), models={"m": ModelConfig(label="late")}), file)
    assert written == ("approvals",)
    text = file.read_text()
    assert text.startswith("# mine\nmodels: {m: {label: y}}  # for now\n")
    assert yaml.safe_load(text) == {"models": {"m": {"label": "y"}}, "approvals": ["approver"]}


def test_the_data_plane_never_reads_settings() -> None:
    code = "import sys, penstock.serve.worker, penstock.serve.supervisor; print('penstock.config' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if "No module named 'penstock.serve" in out.stderr:
        pytest.skip("serve is not there yet")
    assert out.stdout.strip() == "False", out.stderr
