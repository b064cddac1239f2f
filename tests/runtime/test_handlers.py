"""Handlers as TorchServe runs them: what they are given, and what becomes of their answers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from archives_for_tests import CLASS, FUNCTION, STEPS, archive
from penstock.errors import BadConfig
from penstock.packages.archives.mar import MAR_MANIFEST, import_mar
from penstock.runtime.handlers import ArchivedHandler, open_handler


@pytest.fixture(autouse=True)
def modules() -> Iterator[None]:
    """What handlers import is theirs alone: in the sandbox each has a process of its own."""
    path = list(sys.path)
    yield
    sys.path[:] = path
    sys.modules.pop("handler", None)


def opened(tmp_path: Path, source: str, **more: object) -> ArchivedHandler:
    made = import_mar(archive(tmp_path / "a.mar", source, **more), tmp_path / "store")  # type: ignore[arg-type]
    return open_handler(made.folder / "model" / MAR_MANIFEST)


def answers(handler: ArchivedHandler, *texts: str) -> list[str]:
    array = np.empty(len(texts), object)
    array[:] = texts
    return handler.answer_arrays({"body": array})["body"].tolist()


def test_a_function_a_class_and_steps(tmp_path: Path) -> None:
    assert answers(opened(tmp_path, FUNCTION), "one", "two") == ["one", "two"]
    sys.modules.pop("handler")
    handler = opened(tmp_path / "b", CLASS, files={"weights.txt": "2"})
    assert answers(handler, "data:application/json,[1, 2]") == ['data:application/json,{"name": "echo", "sum": 6.0}']
    sys.modules.pop("handler")
    assert answers(opened(tmp_path / "c", STEPS), "four") == ["8"]


def test_a_function_of_another_name(tmp_path: Path) -> None:
    source = "def answer(data, context): return ['yes' for _ in data or []]"
    assert answers(opened(tmp_path, source, entry="handler.py:answer"), "x") == ["yes"]


def test_nothing_asked_is_nothing_answered(tmp_path: Path) -> None:
    assert answers(opened(tmp_path, "def handle(data, context):\n    if data is not None: raise ValueError")) == []


@pytest.mark.parametrize("returned", ["[]", "['a', 'b', 'c']", "None", "'ab'", "('a', 'b')", "{'a': 1, 'b': 2}"])
def test_one_answer_a_request_or_none_at_all(tmp_path: Path, returned: str) -> None:
    handler = opened(tmp_path, f"def handle(data, context): return {returned}")
    with pytest.raises(ValueError, match="a list of 2"):
        answers(handler, "one", "two")


CONTEXT = """
def handle(data, context):
    if data is None:
        return None
    context.metrics.add_time("Preprocessing", 1.5, None, "ms")
    context.metrics.add_counter("Seen", len(data))
    context.set_response_content_type(0, "text/csv")
    context.set_response_header(1, "Content-Type", "text/x")
    return [context.get_request_header(0, "Content-Type"), str(context.model_yaml_config["topk"]) + context.model_name]
"""


def test_the_context(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    handler = opened(tmp_path, CONTEXT, files={"config.yaml": "topk: 3\n"}, configFile="config.yaml")
    assert answers(handler, "data:image/png;base64,eA==", "x") == ["data:text/csv,image/png", "data:text/x,3echo"]
    assert "[METRICS]Preprocessing.ms:1.5" in capfd.readouterr().err


@pytest.mark.parametrize("source", ["", "x = 1", "class A: pass\nclass B: pass", "class A: pass"])
def test_no_way_in(tmp_path: Path, source: str) -> None:
    with pytest.raises(BadConfig):
        opened(tmp_path, source)


def test_a_header_that_nobody_would_get_is_refused(tmp_path: Path) -> None:
    source = "def handle(data, context):\n    if data: context.set_response_header(0, 'X-A', 'b')\n    return ['x']"
    handler = opened(tmp_path, source)
    with pytest.raises(BadConfig):
        answers(handler, "x")
