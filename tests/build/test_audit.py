"""What a model may name: classes of the known libraries, containers, arrays; nothing that does anything."""

from __future__ import annotations

import bz2
import gzip
import lzma
import pickle
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models_for_tests import SCIKIT, fitted, make_frame
from sklearn.utils import all_estimators

from penstock.build.pickles.audit import allowed, audit_pickle
from penstock.build.pickles.sniff import is_pickle
from penstock.errors import Untrusted

GADGETS = (
    "os.system", "posix.system", "nt.system", "builtins.eval", "builtins.exec", "builtins.getattr",
    "builtins.__import__", "builtins.open", "builtins.compile", "subprocess.Popen", "subprocess.check_output",
    "importlib.import_module", "runpy.run_path", "pickle.loads", "pickle.Unpickler", "_pickle.loads", "marshal.loads",
    "joblib.load", "joblib.numpy_pickle.load", "numpy.load", "numpy.f2py.crackfortran.myeval", "numpy.fromfile",
    "numpy.testing._private.utils.runstring", "numpy.lib._npyio_impl.load", "sklearn.externals.array_api_compat.X",
    "sklearn.datasets.load_svmlight_file", "sklearn.utils._testing.Temp", "sklearn.tests.test_x.Y",
    "sklearn.utils.validation.check_memory", "pandas.read_pickle", "pandas.eval", "pandas.io.pickle.read_pickle",
    "pandas.core.computation.eval.eval", "torch.load", "timeit.timeit", "timeit.Timer", "code.InteractiveInterpreter",
    "webbrowser.open", "shutil.rmtree", "socket.socket", "ctypes.CDLL", "cProfile.run", "pdb.run", "pip.main",
    "functools.reduce", "operator.methodcaller", "operator.attrgetter", "types.FunctionType", "types.CodeType",
    "asyncio.unix_events._UnixSubprocessTransport._start", "lightgbm.basic._load_lib", "xgboost.core._load_lib",
    "cloudpickle.cloudpickle._make_function", "dill._dill._create_code", "__main__.shout", "sklearnx.Model",
    "xgboost.core.Booster.load_model", "sklearn.base.BaseEstimator.__setattr__", "numpy.dtypes.os.system",
)  # fmt: skip
COMPRESSED = [(name, how) for name in ("tree", "mlp") for how in (3, ("gzip", 3), ("bz2", 3), ("lzma", 1), ("xz", 1))]


@pytest.mark.parametrize("name", GADGETS)
def test_what_does_something_is_refused(name: str) -> None:
    assert not allowed(name)


def test_every_public_estimator_is_allowed() -> None:
    refused = [name for name, kind in all_estimators() if not allowed(f"{kind.__module__}.{kind.__qualname__}")]
    assert refused == []


@pytest.mark.parametrize(("name", "compress"), [*((name, 0) for name in SCIKIT), *COMPRESSED], ids=str)
def test_ordinary_files_are_known_and_pass(tmp_path: Path, name: str, compress: object) -> None:
    model, _ = fitted(make_frame(60, seed=0), SCIKIT[name], pipeline=True)
    joblib.dump(model, tmp_path / "model", compress=compress)
    assert is_pickle((tmp_path / "model").read_bytes()[: 1 << 20])
    audit = audit_pickle(tmp_path / "model")
    assert audit.refused == ()
    assert "sklearn.pipeline.Pipeline" in audit.names


@pytest.mark.parametrize("squeeze", [zlib.compress, gzip.compress, bz2.compress, lzma.compress])
def test_compression_hides_nothing(tmp_path: Path, squeeze: Callable[[bytes], bytes]) -> None:
    (tmp_path / "model").write_bytes(squeeze(pickle.dumps([np.arange(3), exec, "x"])))
    assert audit_pickle(tmp_path / "model").refused == ("builtins.exec",)


def test_text_arrays_hide_nothing(tmp_path: Path) -> None:
    joblib.dump(
        {"a": np.arange(10), "hidden": np.array([eval, "x"], dtype=object), "b": np.ones(5)}, tmp_path / "model"
    )
    assert audit_pickle(tmp_path / "model").refused == ("builtins.eval",)


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_long_arrays_of_a_plain_pickle_hide_nothing_and_are_not_kept(tmp_path: Path, protocol: int) -> None:
    arrays = [np.arange(20_000 + at) for at in range(50)]
    (tmp_path / "model").write_bytes(pickle.dumps([*arrays, bytearray(100_000), exec, *arrays], protocol))
    tracemalloc.start()
    audit = audit_pickle(tmp_path / "model")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert audit.refused == ("builtins.exec",)
    assert peak < (tmp_path / "model").stat().st_size / 4


@pytest.mark.parametrize("end", [b"b.", b"a.", b"0)R.", b"\x85R."])
def test_nothing_is_done_to_long_bytes(tmp_path: Path, end: bytes) -> None:
    """A state, an item, a call: no pickler writes such, and the loader fails on it."""
    long = b"B" + (1 << 17).to_bytes(4, "little") + bytes(1 << 17)
    (tmp_path / "model").write_bytes(b"\x80\x04" + long + (b"" if end == b"0)R." else b"}") + end)
    with pytest.raises(Untrusted):
        audit_pickle(tmp_path / "model")


def test_what_points_outside_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"\x80\x04\x8c\x05otherQ.")
    with pytest.raises(Untrusted):
        audit_pickle(tmp_path / "model")


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_to_the_end_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "model"
    path.write_bytes(b"\x80\x04" + data)
    with suppress(Untrusted):
        audit_pickle(path)
