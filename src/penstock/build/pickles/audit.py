"""What would a pickle run? Answered without running any of it.

What comes in: a pickle or joblib file (compressed or not, arrays embedded or not). What goes out: every global
it names, and those that no model has business naming.

The stream is read by `penstock.build.pickles.inert`. The allow-list holds classes, not modules: what is called while
a model is loaded has to be a constructor. A class of a known library is looked up in the library, so that what a
module of it merely imported, such as ``ctypes``, does not pass for its own. It is the first wall; the sandbox is the
second.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from joblib.numpy_pickle_utils import _validate_fileobject_and_memmap

from penstock.build.format import Audit
from penstock.build.pickles.inert import InertReader
from penstock.errors import Untrusted

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+")
_CLASS = re.compile(r"_{0,2}[A-Z][A-Za-z0-9_]*")
_REBUILDS = re.compile(r"__pyx_unpickle_\w+|newObj")
"""Functions by which compiled classes make their instances."""
_LIBRARIES = frozenset({"sklearn", "lightgbm", "xgboost"})
_NEVER = re.compile(
    r"(^|\.)_?(test|tests|testing|conftest|externals|datasets|utils\._testing|_build_utils|dask|spark|tracker|collective)(\.|$)"
)

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
        "catboost.core.CatBoost catboost.core.CatBoostClassifier catboost.core.CatBoostRegressor",
        "catboost.core.CatBoostRanker",
        # Functions that fitted models of scikit-learn hold: they look at arrays and at columns' types, no more.
        "sklearn.utils.validation.check_array sklearn.compose._column_transformer.make_column_selector",
        "numpy.number numpy.integer numpy.signedinteger numpy.unsignedinteger numpy.floating numpy.inexact",
    }
)
_ALLOWED = frozenset(name for line in _NAMES for name in line.split())
_SCALAR = re.compile(r"numpy\.(bool_?|u?int(8|16|32|64|p|c)?|float(16|32|64)?|longlong|str_|bytes_|object_|void)")
_UFUNCS = frozenset(name for name in dir(np) if isinstance(getattr(np, name), np.ufunc))


MAX_SHOWN = 120


def audit_pickle(path: Path) -> Audit:
    """Everything that unpickling a file would look up.

    Raises:
        Untrusted: It cannot be read to its end, so nobody can say what it would run; or it goes on after that.
    """
    seen: dict[str, None] = {}
    try:
        with path.open("rb") as raw, _validate_fileobject_and_memmap(raw, str(path), None) as (file, _):
            InertReader(file, note=seen.setdefault).load()
            goes_on = bool(file.read(1))
    except Untrusted:
        raise
    except Exception as error:
        raise Untrusted(
            f"the pickle cannot be audited to its end ({type(error).__name__})",
            "save the model again with joblib.dump, skops or ONNX",
            code="build.unreadable_pickle",
        ) from error
    names = sorted(seen)
    refused = tuple(shown(name) for name in names if not allowed(name))
    if goes_on and not refused:
        raise Untrusted(
            "the file goes on after the pickle's end, where another reader may go on reading",
            "save the model again with joblib.dump, skops or ONNX",
            code="build.odd_pickle",
        )
    return Audit(names=tuple(map(shown, names)), refused=refused)


def allowed(name: str) -> bool:
    """Whether a model may name this; classes of the known libraries, containers, arrays, nothing else."""
    module, _, attribute = name.rpartition(".")
    if name in _ALLOWED or _SCALAR.fullmatch(name) or (module == "numpy" and attribute in _UFUNCS):
        return True
    if _NAME.fullmatch(name) is None or _NEVER.search(module):
        return False
    if module == "numpy.dtypes":
        return attribute in np.dtypes.__all__
    known = module.partition(".")[0] in _LIBRARIES and (_CLASS.fullmatch(attribute) or _REBUILDS.fullmatch(attribute))
    return bool(known) and _is_its_own(module, attribute)


def shown(name: str) -> str:
    """A name from a file as a message may show it: printable, and not too long."""
    safe = name if name.isascii() and name.isprintable() else ascii(name)[1:-1]
    return safe if len(safe) <= MAX_SHOWN else f"{safe[:MAX_SHOWN]}..."


@cache
def _is_its_own(module: str, attribute: str) -> bool:
    """Whether a library made this itself; what is not there at all cannot be run, and fails when it is loaded."""
    root = module.partition(".")[0]
    try:
        found = getattr(import_module(module), attribute) if find_spec(root) else None
    except (ImportError, AttributeError, ValueError):
        return True
    if found is None or (isinstance(found, type) and _CLASS.fullmatch(attribute)):
        return found is None or found.__module__.partition(".")[0] == root
    return callable(found) and _REBUILDS.fullmatch(attribute) is not None
