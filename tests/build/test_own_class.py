"""A person's own class: every way to write it, and everything it might do that it should not."""

from __future__ import annotations

import os
import socket
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.build.assemble import build
from penstock.build.formats.python import PythonFormat
from penstock.build.request import BuildRequest
from penstock.build.sources import archive_source, find_source
from penstock.errors import BadConfig, InvalidInput, ModelFailed, NotFound, Untrusted
from penstock.packages.archive import unpack
from penstock.packages.read import Package
from penstock.runtime.engine import open_engine, prove
from penstock.runtime.ownanswers import by_name, column, of_rows
from penstock.runtime.ownclass import ENTRY, OwnClass

FRAME = pd.DataFrame({
    "age": np.arange(18, 58),
    "income": np.linspace(10.0, 80.0, 40),
    "plan": ["basic", "pro"] * 20,
})  # fmt: skip

Write = Callable[..., Package]


@pytest.fixture
def packed(tmp_path: Path) -> Write:
    """Package a class from its source."""

    def run(source: str, data: pd.DataFrame | None = FRAME, **more: object) -> Package:
        file = tmp_path / "my_model.py"
        file.write_text(textwrap.dedent(source))
        return build(file, BuildRequest(name="own", out=tmp_path / "out", data=data, lock=False, **more))

    return run


def asked(package: Package, rows: pd.DataFrame = FRAME) -> dict[str, list[object]]:
    engine = open_engine(package)
    try:
        prove(engine, package)
        signature = package.manifest.signature
        if len(signature.inputs) == 1 and signature.inputs[0].columns:
            names = list(signature.inputs[0].columns)
            arrays = {signature.inputs[0].name: rows[names].to_numpy(np.float64)}
        else:
            arrays = {
                one.name: rows[one.name].to_numpy(object if one.datatype == "BYTES" else None).reshape(-1, 1)
                for one in signature.inputs
            }
        return {name: array.tolist() for name, array in engine.run(arrays).items()}
    finally:
        engine.close()


def test_a_class_of_labels_and_probabilities_answers_as_it_does_by_itself(packed: Write) -> None:
    package = packed(
        """
        import numpy as np
        import pandas as pd
        from scipy.special import expit

        class Churn:
            classes_ = ["no", "yes"]
            def predict(self, rows: pd.DataFrame):
                return np.array(self.classes_)[self.predict_proba(rows).argmax(axis=1)]
            def predict_proba(self, rows):
                second = expit(rows["age"] / 10 - 4 + (rows["plan"] == "pro"))
                return np.stack([1 - second, second], axis=1)
        """
    )
    manifest = package.manifest
    assert (manifest.kind, manifest.engine, manifest.classes) == ("python", "python", ("no", "yes"))
    assert manifest.source["code_allowed"] == "my_model.py, penstock_entry.py"
    answers = asked(package)
    second = 1 / (1 + np.exp(-(FRAME["age"] / 10 - 4 + (FRAME["plan"] == "pro"))))
    np.testing.assert_allclose(np.array(answers["probabilities"])[:, 1], second)
    assert answers["label"] == ["yes" if one > 0.5 else "no" for one in second]
    lock = package.path("requirements.lock").read_text()
    assert "\nscipy==" in lock
    assert "\nscikit-learn==" not in lock, "what the build imports itself is not the class's"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("rows['income'] * 2", {"prediction": (FRAME["income"] * 2).tolist()}),
        (
            "{'twice': rows['age'] * 2, 'plan': rows['plan']}",
            {"twice": (FRAME["age"] * 2).tolist(), "plan": FRAME["plan"].tolist()},
        ),
        (
            "pd.DataFrame({'a': rows['age'], 'b': rows['age'] > 30})",
            {"a": FRAME["age"].tolist(), "b": (FRAME["age"] > 30).tolist()},
        ),
        ("rows['plan'].tolist()", {"label": FRAME["plan"].tolist()}),
        ("rows[['age', 'income']].to_numpy(float)", {"prediction": FRAME[["age", "income"]].to_numpy(float).tolist()}),
    ],
)  # fmt: skip
def test_what_it_answers_may_have_any_plain_form(packed: Write, answer: str, expected: dict[str, object]) -> None:
    package = packed(f"import pandas as pd\nclass Own:\n    def predict(self, rows):\n        return {answer}\n")
    assert asked(package) == expected


def test_the_labels_it_answers_are_its_classes_where_it_names_none(packed: Write) -> None:
    package = packed("class Own:\n    def predict(self, rows):\n        return rows['plan'].tolist()\n")
    # One row in the comparison has a plan that nobody ever saw, and that is what it says of it.
    assert {"basic", "pro"} <= set(package.manifest.classes)
    assert package.manifest.task == "classification"


def test_a_class_that_takes_an_array_gets_one(packed: Write) -> None:
    source = (
        "import numpy as np\nclass Own:\n    def predict(self, rows: np.ndarray):\n        return rows.sum(axis=1)\n"
    )
    package = packed(source, FRAME[["age", "income"]])
    (spec,) = package.manifest.signature.inputs
    assert (spec.shape, spec.columns) == ((-1, 2), ("age", "income"))
    assert asked(package) == {"prediction": pytest.approx((FRAME["age"] + FRAME["income"]).tolist())}
    with pytest.raises(InvalidInput, match="no number in plan"):
        packed(source)


def test_a_folder_brings_its_own_files_and_modules(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "parts").mkdir(parents=True)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_bytes(b"no")
    (folder / "weights.csv").write_text("2,3")
    (folder / "parts" / "__init__.py").write_text("")
    (folder / "parts" / "weighing.py").write_text("def weigh(rows, by):\n    return rows['age'] * by[0] + by[1]\n")
    (folder / "model.py").write_text(
        "from parts.weighing import weigh\n\n\nclass Weighed:\n    columns = ['age']\n\n"
        "    def load(self, folder):\n        self.place = folder / 'weights.csv'\n\n"
        # Read when it is asked, not when it is loaded: a forked worker has to see it, too.
        "    def predict(self, rows):\n        by = [float(one) for one in self.place.read_text().split(',')]\n"
        "        return weigh(rows, by)\n"
    )
    package = build(folder, BuildRequest(name="own", out=tmp_path / "out", data=FRAME, lock=False))
    assert package.manifest.signature.input_names() == ("age",)
    kept = {name for name in package.manifest.files if name.startswith("model/")}
    assert kept == {
        f"model/original/{name}"
        for name in ("model.py", "weights.csv", "parts/__init__.py", "parts/weighing.py", ENTRY)
    }
    assert asked(package) == {"prediction": (FRAME["age"] * 2.0 + 3).tolist()}


REFUSED_AT_HOME = [
    ("class Own\n", "SyntaxError"),
    ("class Own:\n    def predict(self, rows): return [1]", "gives 1 answers"),
    ("class Own:\n    def predict(self, rows): return 1", "one value for"),
    ("class Own:\n    def predict(self, rows): return [object()] * len(rows)", "several kinds, or objects"),
    ("class Own:\n    def predict(self, rows): return [[1] * n for n in range(len(rows))]", "different lengths"),
    ("class Own:\n    def predict(self, rows): return {}", "0 outputs"),
    ("class Own:\n    def predict(self, rows): return {'a b': rows['age']}", "as no protocol can"),
    ("class Own:\n    def ask(self, rows): return rows", "0 classes"),
    ("class A:\n    def predict(self, rows): return rows\nclass B(A): pass", "2 classes"),
    ("class Own:\n    def __init__(self, a, b): pass\n    def predict(self, rows): return rows", "needs 2 arguments"),
    ("class Own:\n    columns = ['w']\n    def predict(self, rows): return rows['w']", "lacks columns.*w"),
    ("class Own:\n    classes_ = 'ab'\n    def predict(self, rows): return [['a', 'b']] * len(rows)", "several labels"),
    (
        "class Own:\n    def predict(self, rows): return ['a'] * len(rows)\n"
        "    def predict_proba(self, rows): return [[.5, .5]] * len(rows)",
        "which class each column",
    ),
    (
        "import random\nclass Own:\n    def predict(self, rows): return [random.random() for _ in range(len(rows))]",
        "asked again",
    ),
    (
        "class Own:\n    n = 0\n    def predict(self, rows):\n"
        "        self.n += 1\n        return rows['age'] * 0 + self.n",
        "asked again",
    ),
    ("class Own:\n    def predict(self, rows): return rows['age'] - rows['age'].mean()", "answers a batch of 1"),
    (
        "class Own:\n    def predict(self, rows):\n"
        "        return rows['age'] + (1 if 8 < rows['age'].iloc[0] - 20 and len(rows) == 1 else 0)",
        "a row alone as it does not among others",
    ),
]


@pytest.mark.parametrize(("source", "words"), REFUSED_AT_HOME)
def test_what_cannot_be_packaged_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, words: str
) -> None:
    # In this process, which the sandbox is not: these do no harm.
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("penstock_entry", "own_model"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "own_model.py").write_text(source)
    found = find_source(tmp_path / "own_model.py")
    assert found is not None
    archive_source(found, tmp_path / "model")
    with pytest.raises((InvalidInput, BadConfig, ModelFailed), match=f"(?s){words}") as refusal:
        PythonFormat().open(tmp_path / "model").inputs(FRAME)
    assert refusal.value.hint


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import no_such_module_at_all\n", "no_such_module_at_all.*my_model.py, line 1"),
        ("class Own:\n    def predict(self, rows):\n        import no_such_module_at_all", "no_such_module_at_all"),
        (
            "class Own:\n    def predict(self, rows):\n        return no_such_name",
            r"NameError.*\(my_model.py, line 3\)",
        ),
        ("import sys\nsys.exit(0)\n", "end its process"),
        ("class Own:\n    def predict(self, rows): raise SystemExit(3)", "end its process"),
        ("class Own:\n    def predict(self, rows):\n        import os\n        os._exit(0)", "died|ended"),
        ("while True: pass", "longer than 6 s"),
        ("import os\nos.fork()\n", "PermissionError.*line 2"),
        ("import socket\nsocket.create_connection(('127.0.0.1', 9))\n", "PermissionError.*line 2"),
        ("open('/tmp/penstock-own-class', 'w')\n", "(PermissionError|OSError).*line 1"),
        (
            "import os\nN = int.from_bytes(os.urandom(3))\n"
            "class Own:\n    def predict(self, rows): return rows['age'] * 0 + N",
            "another process",
        ),
    ],
)
def test_what_would_harm_or_hang_is_refused_behind_the_walls(packed: Write, source: str, words: str) -> None:
    with pytest.raises((BadConfig, ModelFailed), match=f"(?s){words}") as refusal:
        packed(source, patience_s=6.0 if source.startswith("while") else 90.0)
    assert refusal.value.hint


def test_what_it_prints_tries_and_catches_does_no_harm(packed: Write, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0.2)
        package = packed(
            f"""
            import os, socket, sys
            print("hello", flush=True)
            os.write(1, b"more")
            done = []
            for step in (
                lambda: socket.create_connection(("127.0.0.1", {listener.getsockname()[1]}), timeout=1),
                lambda: open({str(outside / "file")!r}, "w"),
                lambda: open("/etc/passwd").read(),
                lambda: os.fork(),
            ):
                try:
                    step()
                    done.append(1)
                except Exception:
                    done.append(0)

            class Own:
                def predict(self, rows):
                    print("rows", len(rows))
                    open("scratch.txt", "w").write("mine")
                    return rows["age"] * 0 + sum(done)
            """
        )
        assert set(asked(package)["prediction"]) == {0.0}, "no wall may let it through"
        with pytest.raises(TimeoutError):
            listener.accept()
    assert not list(outside.iterdir())


def test_a_class_whose_rows_matter_to_each_other_may_ask_for_one_at_a_time(packed: Write) -> None:
    package = packed(
        "class Own:\n    row_by_row = True\n"
        "    def predict(self, rows):\n        return rows['age'] + len(rows)\n"
    )  # fmt: skip
    assert asked(package) == {"prediction": (FRAME["age"] + 1.0).tolist()}


# -- names and files


@pytest.mark.parametrize("name", ["no_such.py:Own", "no_such.py"])
def test_a_file_that_is_not_there_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFound):
        build(tmp_path / name, BuildRequest(name="own", out=tmp_path / "out", data=FRAME, lock=False))


@pytest.mark.parametrize(
    ("file", "kind"), [("json.py", "Own"), ("my-model.py", "Own"), ("m.py", "a b"), ("m.py", "class"), ("m.py", "x;y")]
)
def test_a_name_that_python_cannot_import_is_refused(tmp_path: Path, file: str, kind: str) -> None:
    (tmp_path / file).write_text("")
    with pytest.raises((BadConfig, InvalidInput)):
        find_source(tmp_path / f"{file}:{kind}")


def test_links_special_files_and_our_own_name_are_refused(tmp_path: Path) -> None:
    for number, spoil in enumerate((
        lambda folder: (folder / "data").symlink_to("/etc/passwd"),
        lambda folder: (folder / "data").symlink_to("/etc"),
        lambda folder: os.mkfifo(folder / "data"),
        lambda folder: (folder / "a b").write_text(""),
        lambda folder: (folder / ENTRY).write_text("Model = 1"),
    )):  # fmt: skip
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "model.py").write_text("class Own: pass")
        source = find_source(folder)
        assert source is not None
        archive_source(source, tmp_path / f"{number}.zip")
        spoil(folder)
        with pytest.raises((Untrusted, InvalidInput)):
            archive_source(source, tmp_path / f"{number}.zip")


def test_equal_files_make_equal_archives_that_the_strict_reader_takes(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "deep").mkdir(parents=True)
    (folder / "model.py").write_text("class Own: pass")
    (folder / "deep" / "w.bin").write_bytes(os.urandom(70_000))
    source = find_source(folder)
    assert source is not None
    archive_source(source, tmp_path / "a")
    os.utime(folder / "model.py", (1, 1))
    archive_source(source, tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    there = unpack(tmp_path / "a", tmp_path / "there")
    assert (there / "deep" / "w.bin").read_bytes() == (folder / "deep" / "w.bin").read_bytes()


# -- whatever it answers

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.binary(max_size=3),
    st.complex_numbers(), st.dates(), st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)  # fmt: skip


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    answered=st.one_of(
        VALUES,
        st.lists(VALUES, max_size=4),
        st.dictionaries(st.text(max_size=4), st.lists(VALUES, max_size=4), max_size=3),
    ),
    rows=st.integers(1, 4),
)
def test_any_answer_becomes_arrays_of_that_many_rows_or_a_refusal(answered: object, rows: int) -> None:
    class Own:
        def predict(self, given: object) -> object:
            return answered

    try:
        answers = OwnClass(Own()).answer_table(np.zeros((rows, 1)))
    except ModelFailed:
        return
    for name, array in answers.items():
        assert len(array) == rows
        assert name.isascii()
        assert array.dtype.kind in "iufb" or all(isinstance(one, str) for one in array.reshape(-1))


def test_the_refusals_of_answers_can_fail() -> None:
    with pytest.raises(ModelFailed):
        column([1, "a"])
    with pytest.raises(ModelFailed):
        of_rows(np.zeros(2), 3)
    with pytest.raises(ModelFailed):
        by_name({"": [1]})
