"""The cases are data that hold together: ids, sources, and every name in them means something."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

import penstock.conformance.case
from penstock.conformance.case import LEVELS, ProtocolCase, all_cases
from penstock.conformance.judge import CHECKS, KINDS
from penstock.conformance.messages import methods
from penstock.conformance.model import read_model
from penstock.conformance.needs import Allowed, lacking
from penstock.conformance.properties import PROPERTIES
from penstock.conformance.samples import Sampler
from penstock.conformance.spoils import HOPELESS, IN_MESSAGES, SPOILS
from penstock.conformance.template import Filler, Unfit
from penstock.errors import Corrupt

COLUMN = {"datatype": "BYTES", "shape": [-1, 1]}
MODEL = read_model(
    "m/x",
    {
        "versions": ["1"],
        "inputs": [{"name": "a", "datatype": "FP32", "shape": [-1, 3]}, {"name": "b", **COLUMN}],
        "outputs": [{"name": "c", **COLUMN}, {"name": "d", "datatype": "INT64", "shape": [-1]}],
    },
)


def test_there_are_cases_of_every_level_and_transport() -> None:
    cases = all_cases()
    assert len(cases) >= 200
    assert {case.level for case in cases} == set(LEVELS)
    assert {case.transport for case in cases} == {"rest", "grpc", "both"}
    assert sum(case.level == "required" for case in cases) >= 70


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.id)
def test_every_name_means_something(case: ProtocolCase) -> None:
    assert case.source.file
    assert not case.title.endswith(".")
    assert bool(case.ask) != bool(case.example), "either requests or a property"
    assert case.example in ("", *PROPERTIES)
    assert case.expect.check in ("", *CHECKS)
    assert (case.level == "extension") >= bool(case.extensions), "an extension is judged as one"
    for need in case.needs:
        lacking(need, MODEL, Allowed())
    for asked in case.ask:
        assert bool(asked.rpc) == (case.transport == "grpc")
        assert bool(asked.rpc) != bool(asked.path)
    for asked in case.ask[:-1]:
        assert asked.expect is not None, "every step says what it expects"
    for kind in texts(case.expect.body):
        assert kind.startswith("=") or set(kind.split("|")) <= KINDS.keys(), kind


@pytest.mark.parametrize("case", [case for case in all_cases() if case.ask], ids=lambda case: case.id)
def test_every_template_can_be_filled(case: ProtocolCase) -> None:
    known = methods()
    for asked in case.ask:
        try:
            sent = Filler(MODEL, Sampler(MODEL, {}, 0)).fill(asked)
        except Unfit:
            assert case.id.removesuffix(".4xx") in ("errors.null", "errors.fraction", "errors.too-large")
            continue
        text = sent.what + sent.body.decode("latin-1") + str(sent.message) + str(sent.headers)
        assert "{model}" not in text and "$inputs" not in text and "$raw" not in text  # noqa: PT018
        assert not asked.path or sent.what.startswith((f"{asked.method} /v2",))
        assert not asked.rpc or asked.rpc == "NoSuchMethod" or sent.what in known


def test_where_the_specification_contradicts_itself_the_case_says_so() -> None:
    noted = {case.id for case in all_cases() if case.note}
    assert {"health.ready.body", "health.live.body", "health.model.body", "infer.id.none", "metadata.version"} <= noted


def test_every_spoil_has_a_case_or_a_property() -> None:
    asked = msgspec.json.encode(all_cases()).decode()
    assert all(f'"spoil":"{name}"' in asked for name in SPOILS)
    assert {*HOPELESS, *IN_MESSAGES} <= SPOILS.keys()


def test_a_wrong_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(penstock.conformance.case, "FOLDER", tmp_path)
    case = '{"id": "a", "title": "A", "level": "required", "source": {"file": "f"}}'
    for text, said in ((f"[{case}, {case}]", "two cases"), (f'[{case[:-1]}, "levle": 1}}]', "levle")):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(Corrupt, match=said):
            all_cases.__wrapped__()


def texts(pattern: object) -> list[str]:
    if isinstance(pattern, dict):
        return [text for one in pattern.values() for text in texts(one)]
    if isinstance(pattern, list):
        return [text for one in pattern for text in texts(one)]
    return [pattern] if isinstance(pattern, str) else []
