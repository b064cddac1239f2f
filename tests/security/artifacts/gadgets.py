"""Pickles that call what no model calls: every function that is known to have been misused, and a model behind it."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator

from tests.security.artifacts.artifact import Artifact, Target, file_of
from tests.security.artifacts.opcodes import call, fitted, memo_global, name_global, pickled, stack_global

Arguments = Callable[[Target], tuple[object, ...]]


def artifacts() -> Iterator[Artifact]:
    """All of them."""
    for at, (dotted, arguments) in enumerate(gadgets()):
        yield file_of("pickle", f"calls {dotted}", _called(dotted, arguments, at))


def gadgets() -> Iterator[tuple[str, Arguments]]:
    """Dotted name, and what it is called with."""
    for name in (
        "os.system", "posix.system", "subprocess.getoutput", "os.popen", "commands.getoutput", "pty.spawn",
        "multiprocessing.util.spawnv_passfds", "uuid._get_command_stdout", "distutils.spawn.spawn",
        "numpy.testing._private.utils.runstring", "test.support.script_helper.assert_python_ok",
    ):  # fmt: skip
        yield name, lambda target: (target.shell,)
    for name in ("subprocess.Popen", "subprocess.run", "subprocess.call", "subprocess.check_output"):
        yield name, lambda target: (["/bin/sh", "-c", target.shell],)
    for name in (
        "builtins.exec", "__builtin__.exec", "timeit.timeit", "timeit.Timer", "cProfile.run", "profile.run", "pdb.run",
        "bdb.Bdb.run", "doctest.debug_script", "code.InteractiveInterpreter.runcode", "trace.Trace.run",
        "idlelib.pyshell.ModifiedInterpreter.runcommand", "asyncio.run", "_testcapi.run_in_subinterp", "pip.main",
        "torch.utils._config_module.exec", "torch.jit.unsupported_tensor_ops.execWrapper",
    ):  # fmt: skip
        yield name, lambda target: (target.source,)
    for name in (
        "builtins.eval", "__builtin__.eval", "numpy.f2py.crackfortran.myeval", "pandas.eval", "pandas.core.computation.eval.eval",
        "numpy.ma.core.eval", "sympy.sympify", "logging.config._resolve", "torch.fx.experimental.symbolic_shapes.eval",
        "lib2to3.pgen2.grammar.Grammar.loads", "ast.literal_eval",
    ):  # fmt: skip
        yield name, lambda target: (target.expression,)
    for name in (
        "pickle.loads", "_pickle.loads", "cPickle.loads", "cloudpickle.loads", "dill.loads", "marshal.loads",
        "joblib.externals.cloudpickle.loads", "numpy.core.multiarray.fromstring", "pickle.Unpickler",
    ):  # fmt: skip
        yield name, lambda target: (pickled(call("os", "system", target.shell)),)
    for name in (
        "builtins.open", "io.open", "io.FileIO", "_io.FileIO", "codecs.open", "pathlib.Path.touch", "logging.FileHandler",
        "pathlib.PosixPath.unlink", "shelve.open", "dbm.open", "sqlite3.connect", "os.mkdir", "os.mkfifo", "os.makedirs",
        "distutils.file_util.write_file", "tempfile.NamedTemporaryFile", "zipfile.ZipFile", "tarfile.open", "gzip.open",
        "lzma.open", "bz2.open", "lightgbm.basic.NamedTemporaryFile", "numpy.memmap", "numpy.savetxt", "numpy.fromfile",
        "numpy.load", "numpy.lib._npyio_impl.load", "numpy.lib.npyio.NpzFile", "numpy.lib._datasource.open",
        "numpy.DataSource", "joblib.load", "joblib.numpy_pickle.load", "joblib.numpy_pickle_compat.load_compatibility",
        "joblib.numpy_pickle_compat.NDArrayWrapper", "joblib.Memory", "pandas.read_pickle", "pandas.io.pickle.read_pickle",
        "pandas.read_csv", "pandas.io.common.get_handle", "torch.load", "sklearn.datasets.load_svmlight_file",
        "sklearn.datasets.load_files", "xgboost.core.Booster.load_model", "skops.io.load", "mlflow.pyfunc.load_model",
        "runpy.run_path", "site.addsitedir", "imp.load_source", "zipimport.zipimporter", "ctypes.CDLL", "ctypes.PyDLL",
        "numpy.ctypeslib.load_library", "importlib.machinery.SourceFileLoader", "importlib.import_module",
        "builtins.__import__", "runpy.run_module", "numpy.distutils.exec_command.exec_command",
    ):  # fmt: skip
        yield name, lambda target: (target.marker, "w")
    for name in ("shutil.copyfile", "shutil.move", "os.rename", "os.link", "os.symlink", "os.replace"):
        yield name, lambda target: (target.secret, target.marker)
    for name in ("os.remove", "os.unlink", "shutil.rmtree", "os.truncate", "os.chmod"):
        yield name, lambda target: (target.secret, 0)
    for name in ("socket.create_connection", "multiprocessing.connection.Client", "sklearn.callback._transport.Client"):
        yield name, lambda target: (("127.0.0.1", target.port),)
    for name in ("sklearn.callback._transport.Listener", "socketserver.TCPServer", "xmlrpc.server.SimpleXMLRPCServer"):
        yield name, lambda target: (("127.0.0.1", 0),)
    for name in (
        "urllib.request.urlopen", "urllib.request.urlretrieve", "urllib2.urlopen", "requests.get", "webbrowser.open",
        "pandas.read_html", "sklearn.datasets.fetch_openml", "xgboost.core._load_lib", "httplib.HTTPConnection",
    ):  # fmt: skip
        yield name, lambda target: (f"http://127.0.0.1:{target.port}/",)
    for name in (
        "ftplib.FTP",
        "smtplib.SMTP",
        "telnetlib.Telnet",
        "poplib.POP3",
        "imaplib.IMAP4",
        "http.client.HTTPConnection",
    ):
        yield name, lambda target: ("127.0.0.1", target.port)
    for name in ("os.kill", "os.killpg", "signal.raise_signal", "os._exit", "sys.exit", "os.abort", "posix._exit"):
        yield name, lambda target: (15, 15)
    for name in (
        "functools.reduce", "builtins.map", "builtins.filter", "itertools.starmap", "itertools.imap", "operator.methodcaller",
        "operator.attrgetter", "builtins.getattr", "builtins.setattr", "builtins.vars", "builtins.globals", "builtins.property",
        "types.FunctionType", "types.CodeType", "types.MethodType", "types.ModuleType", "copyreg.add_extension",
        "copyreg.pickle", "builtins.breakpoint", "builtins.input", "sys.settrace", "threading.Thread", "concurrent.futures.ThreadPoolExecutor",
        "xgboost.sklearn.ThreadPoolExecutor", "sklearn.utils.parallel.ThreadpoolController", "xgboost.tracker.RabitTracker",
        "xgboost._data_utils.PyCapsule_GetName", "lightgbm.basic._LIB", "sklearn.externals.array_api_compat.X",
        "sklearn.utils._testing.Temp", "sklearn.tests.test_base.MyEstimator", "cloudpickle.cloudpickle._make_function",
        "dill._dill._create_code", "dill._dill._import_module", "__main__.shout", "nobody.knows.This",
        "asyncio.unix_events._UnixSubprocessTransport._start", "_posixsubprocess.fork_exec", "os.execv", "os.posix_spawn",
        "os.fork", "gc.get_objects", "inspect.getattr_static", "weakref.finalize", "atexit.register", "contextlib.ExitStack",
        "unittest.mock.patch", "ensurepip._run_pip", "venv.create", "multiprocessing.Process", "mmap.mmap", "_ctypes.dlopen",
    ):  # fmt: skip
        yield name, lambda target: (target.marker,)


def _called(dotted: str, arguments: Arguments, at: int) -> Callable[[Target], bytes]:
    """In a protocol, a way of looking up and a carrier that depend on its place."""
    module, _, name = dotted.rpartition(".")
    if module.rpartition(".")[2][:1].isupper():  # a method: an attribute of an attribute
        module, _, kind = module.rpartition(".")
        name = f"{kind}.{name}"
    look_up = (stack_global, name_global, memo_global)[at % 3]
    squeeze = (bytes, bytes, zlib.compress, bytes, gzip.compress, bz2.compress, lzma.compress)[at % 7]
    return lambda target: squeeze(pickled(call(module, name, *arguments(target), look_up=look_up) + b"0" + fitted(), 4))
