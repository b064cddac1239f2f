"""What would a pickle run? Answered without running any of it.

What comes in: a pickle or joblib file (compressed or not, arrays embedded or not). What goes out: every global
it names, and those that no model has business naming.

The stream is unpickled by Python's own pure-Python unpickler with every global replaced by an inert stand-in
that swallows calls, state and items; only joblib's array wrapper keeps its meaning, because raw array bytes
follow it in the stream and have to be stepped over. The allow-list holds classes, not modules: what is called
while a model is loaded has to be a constructor. It is the first wall; the sandbox is the second.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from joblib import numpy_pickle
from joblib.numpy_pickle_utils import _validate_fileobject_and_memmap

from penstock.build.format import Audit
from penstock.errors import Untrusted

_CLASS = re.compile(r"_{0,2}[A-Z][A-Za-z0-9_]*|__pyx_unpickle_\w+|newObj")
_LIBRARIES = frozenset({"sklearn", "lightgbm", "xgboost"})
_NEVER = re.compile(r"(^|\.)_?(test|tests|testing|externals|datasets|utils\._testing|_build_utils)(\.|$)")

_NAMES = frozenset(
    {
        "builtins.bool builtins.bytearray builtins.bytes builtins.complex builtins.dict builtins.float",
        "builtins.frozenset builtins.int builtins.list builtins.object builtins.range builtins.set builtins.slice",
        "builtins.str builtins.tuple builtins.type builtins.Ellipsis builtins.NotImplemented",
        "collections.OrderedDict collections.defaultdict collections.Counter collections.deque",
        "copyreg._reconstructor copy_reg._reconstructor __builtin__.object _codecs.encode",
        "datetime.datetime datetime.date datetime.timedelta datetime.time",
        "joblib.numpy_pickle.NumpyArrayWrapper",
        "numpy.ndarray numpy.dtype numpy.random.mtrand.RandomState numpy.random._mt19937.MT19937",
        "numpy.random._pickle.__randomstate_ctor numpy.random._pickle.__bit_generator_ctor",
        "numpy.random._pickle.__generator_ctor numpy.random.bit_generator.SeedSequence",
        "numpy.random.bit_generator.__pyx_unpickle_SeedSequence numpy.random._pcg64.PCG64",
        "numpy.random._generator.Generator",
        "numpy.core.multiarray._reconstruct numpy.core.multiarray.scalar numpy._core.multiarray._reconstruct",
        "numpy._core.multiarray.scalar numpy.core.numeric._frombuffer numpy._core.numeric._frombuffer",
        "numpy.ma.core._mareconstruct numpy.ma.MaskedArray numpy.ma.core.MaskedArray",
        "scipy.sparse._csr.csr_matrix scipy.sparse._csc.csc_matrix scipy.sparse._csr.csr_array",
        "scipy.sparse._csc.csc_array scipy.interpolate._bsplines.BSpline scipy.interpolate._interpolate.interp1d",
        "scipy.special._ufuncs.expit scipy.stats._distn_infrastructure.rv_frozen",
        "pandas.core.frame.DataFrame pandas.core.series.Series pandas.core.indexes.base.Index pandas.Index",
        "pandas.core.indexes.base._new_Index pandas.core.indexes.range.RangeIndex pandas.RangeIndex",
        "pandas.core.internals.managers.BlockManager pandas.core.internals.managers.SingleBlockManager",
        "pandas._libs.internals._unpickle_block pandas.core.dtypes.dtypes.CategoricalDtype pandas.CategoricalDtype",
        "pandas.core.arrays.string_.StringDtype pandas.StringDtype pandas._libs.missing.NAType",
        "pandas.core.arrays.categorical.Categorical pandas.core.arrays.string_.StringArray",
        "pandas._libs.arrays.__pyx_unpickle_NDArrayBacked pandas.core.arrays.string_arrow.ArrowStringArray",
        "threading.Lock functools.partial",
        # Functions that fitted models of scikit-learn hold: they look at arrays and at columns' types, no more.
        "sklearn.utils.validation.check_array sklearn.compose._column_transformer.make_column_selector",
        "numpy.number numpy.integer numpy.signedinteger numpy.unsignedinteger numpy.floating numpy.inexact",
    }
)
_ALLOWED = frozenset(name for line in _NAMES for name in line.split())
_SCALAR = re.compile(r"numpy\.(bool_?|u?int(8|16|32|64|p|c)?|float(16|32|64)?|longlong|str_|bytes_|object_|void)")
_UFUNCS = frozenset(name for name in dir(np) if isinstance(getattr(np, name), np.ufunc))


def audit_pickle(path: Path) -> Audit:
    """Everything that unpickling a file would look up.

    Raises:
        Untrusted: It cannot be read to its end, so nobody can say what it would run.
    """
    seen: dict[str, None] = {}
    try:
        with path.open("rb") as raw, _validate_fileobject_and_memmap(raw, str(path), None) as (file, _):
            _Reader(str(path), file, note=seen.setdefault).load()
    except Exception as error:
        raise Untrusted(
            f"the pickle cannot be audited to its end ({type(error).__name__})",
            "save the model again with joblib.dump, skops or ONNX",
            code="build.unreadable_pickle",
        ) from error
    names = tuple(sorted(seen))
    return Audit(names=names, refused=tuple(name for name in names if not allowed(name)))


def allowed(name: str) -> bool:
    """Whether a model may name this; classes of the known libraries, containers, arrays, nothing else."""
    module, _, attribute = name.rpartition(".")
    if name in _ALLOWED or _SCALAR.fullmatch(name) or (module == "numpy" and attribute in _UFUNCS):
        return True
    known = module.partition(".")[0] in _LIBRARIES or module.startswith("numpy.dtypes")
    return known and _CLASS.fullmatch(attribute) is not None and _NEVER.search(module) is None


class _Inert:
    """Stands for anything; swallows everything that a pickle can do to it."""

    def __new__(cls, *_: object, **__: object) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __call__(self, *_: object, **__: object) -> _Inert:
        return _Inert()

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, item: object) -> None:
        """Nothing."""

    def extend(self, items: object) -> None:
        """Nothing."""

    def add(self, item: object) -> None:
        """Nothing."""


class _Reader(numpy_pickle.NumpyUnpickler):  # type: ignore[misc]
    """Reads a stream for the names in it."""

    def __init__(self, filename: str, file: object, *, note: Callable[[str], None]) -> None:
        super().__init__(filename, file, False)
        self._note = note

    def find_class(self, module: str, name: str) -> object:
        """A stand-in, but for what says how many raw bytes follow."""
        full = f"{module}.{name}"
        self._note(full)
        if full == "joblib.numpy_pickle.NumpyArrayWrapper":
            return numpy_pickle.NumpyArrayWrapper
        return np.dtype if full == "numpy.dtype" else _Inert

    def persistent_load(self, identity: object) -> object:
        """Refuse: a pickle that refers outside of itself is no model."""
        raise Untrusted("the pickle refers to something outside of it", "save the model whole")
