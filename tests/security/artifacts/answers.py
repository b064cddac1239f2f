"""A sandbox that was taken over: code of a model's own that answers for the build, and leaves what it likes.

Each artifact is a class that somebody named, so its code runs, behind the walls. It then says to the process with the
keys whatever it wants: in the answer itself, or in the files that the build takes out of the sandbox's folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.security.artifacts.artifact import Artifact, Target

FAMILY = "taken sandbox"
FILE = "evil.py"
_CLASS = """
import io, json, os, pickle, socket, struct, zipfile
from pathlib import Path
import numpy as np
import penstock.build.examine as examine
from penstock.runtime.confined import CHANNEL, send

class Evil:
    def predict(self, rows):
        return np.asarray(rows, float).sum(axis=1)

def npz(**arrays):
    place = io.BytesIO()
    np.savez(place, **arrays)
    return place.getvalue()

class Words:
    # Stands for msgspec in the build's own module, so that what it found can be changed on its way out.
    def __init__(self, change):
        self.change = change
    def __getattr__(self, name):
        return getattr(msgspec, name)
    def to_builtins(self, found):
        told = msgspec.to_builtins(found)
        return self.change(told) or told

import msgspec
def answers(change):
    if not isinstance(examine.msgspec, Words):
        examine.msgspec = Words(change)
def leaves(name, data):
    def change(told):
        place = Path(os.getcwd()) / name
        if place.is_symlink() or place.exists():
            place.unlink()
        data(place) if callable(data) else place.write_bytes(data)
    answers(change)
"""


def answers(target: Target) -> Iterator[tuple[str, str]]:
    """What it does, in Python."""
    for what, raw in {
        "nothing": "b''",
        "half a frame": "b'{'",
        "JSON a hundred thousand deep": 'b\'{"answer":\' + b"[" * 100000 + b"]" * 100000 + b"}"',
        "half a character": 'b\'{"answer": "\\xff\\xfe"}\'',
        "half a character in a refusal": 'b\'{"refused": "Untrusted", "message": "\\xff", "hint": "x"}\'',
        "a refusal that is no error": 'b\'{"refused": "annotations", "message": "x", "hint": "x"}\'',
        "a refusal that is the base of all": 'b\'{"refused": "PenstockError", "message": "x", "hint": "x"}\'',
        "a refusal that cleans the screen": 'b\'{"refused": "Untrusted", "message": "\\\\u001b[2J\\\\u001b[31m", "hint": "\\\\u0007"}\'',
        "a refusal without words": 'b\'{"refused": "Untrusted"}\'',
        "a refusal of a megabyte": 'b\'{"refused": "Untrusted", "hint": "x", "message": "\' + b"x" * 1000000 + b\'"}\'',
        "a failure that cleans the screen": 'b\'{"failed": "\\\\u001b[2J", "message": "\\\\u001b[2J"}\'',
        "a number of ten thousand digits": 'b\'{"answer": {"kind": \' + b"9" * 10000 + b"}}"',
        "another thing than was asked": 'b\'{"answer": {"kind": 7}}\'',
        "a list": "b'{\"answer\": []}'",
        "a frame of four gigabytes": "None",
    }.items():
        if raw == "None":
            yield f"answers {what}", "os.write(CHANNEL, struct.pack('<I', 0xffffffff) + b'x' * 4096); os._exit(0)"
        else:
            yield f"answers {what}", f"send(CHANNEL, {raw}); os._exit(0)"
    for what, change in {
        "a suffix that climbs": "told.update(suffix='/../../up')",
        "a suffix of two steps": "told.update(suffix='.a/../../../up')",
        "a suffix that is absolute": "told.update(suffix='//tmp/up')",
        "a kind of nobody": "told.update(kind='../../evil')",
        "another kind": "told.update(kind='sklearn', suffix='.joblib')",
        "the kind of a graph": "told.update(kind='onnx', suffix='.onnx')",
        "an archive's kind": "told.update(kind='mar', suffix='/MAR-INF')",
        "an engine of nobody": "told.update(engine='os:system')",
        "an engine without its graph": "told.update(engine='onnxruntime')",
        "modules that are options": f"told.update(modules=['--find-links=http://127.0.0.1:{target.port}/', '-rx', '../../up', ''])",
        "modules with code": "told.update(modules=['antigravity', 'this', 'evil', 'os;import os', '__main__'])",
        "a hundred thousand modules": "told.update(modules=['m%d' % at for at in range(100000)])",
        "names that clean the screen": "told.update(code=['\\x1b[2J'], refused=['\\x1b[2J'])",
        "inputs of a million dimensions": "told['signature']['inputs'][0].update(shape=[-1] + [2] * 1000000)",
        "an input of 2**62 numbers": "told['signature']['inputs'][0].update(shape=[-1, 1 << 62])",
        "an input whose name climbs": "told['signature']['inputs'][0].update(name='../../up')",
        "an input without a name": "told['signature']['inputs'][0].update(name='')",
        "an input whose name cleans the screen": "told['signature']['inputs'][0].update(name='\\x1b[2J')",
        "no inputs": "told['signature'].update(inputs=[])",
        "no outputs": "told['signature'].update(outputs=[])",
        "a type of nobody": "told['signature']['outputs'][0].update(datatype='OBJECT')",
        "a hundred thousand classes": "told.update(classes=list(range(100000)))",
        "parity that is no number": "told['parity'].update(max_error=1e308, tolerance=1e308, reason='\\x1b[2J')",
    }.items():  # fmt: skip
        yield f"says {what}", f"answers(lambda told: {change})"
    system = "pickle.dumps(__import__('collections').OrderedDict)"
    for what, name, data in (
        ("examples that are a link to the secret", "golden.json", f"lambda place: place.symlink_to({target.secret!r})"),
        ("examples that are a pipe", "golden.json", "lambda place: os.mkfifo(place)"),
        ("examples that are a folder", "golden.json", "lambda place: place.mkdir()"),
        ("examples with a second name", "golden.json", "lambda place: (place.write_bytes(b'{}'), os.link(place, str(place) + '2'))"),
        ("examples a hundred thousand deep", "golden.json", "b'{\"inputs\":{\"a\":' + b'[' * 100000 + b']' * 100000 + b'},\"outputs\":{},\"tolerance\":1,\"rows\":1}'"),
        ("no examples", "golden.json", "lambda place: None"),
        ("examples of numbers that no type has", "golden.json", "lambda place: place.write_bytes(b'{\"inputs\":{\"a\":[[' + b'9' * 4000 + b']],\"b\":[[1]],\"c\":[[1]]},\"outputs\":{\"prediction\":[' + b'9' * 4000 + b']},\"tolerance\":1e308,\"rows\":1}')"),
        ("examples of 100 MiB", "golden.json", "lambda place: os.truncate(os.open(place, os.O_CREAT | os.O_RDWR), 100 << 20)"),
        ("scores that are no zip", "scores.npz", "b'PK'"),
        ("scores that are a pickle", "scores.npz", system),
        ("scores of objects", "scores.npz", "lambda place: np.savez(place.open('wb'), **{examine.KEPT: np.array([print], object)})"),
        ("no scores", "scores.npz", "lambda place: None"),
        ("scores of no rows", "scores.npz", "npz(**{examine.KEPT: np.zeros(0, int)})"),
        ("scores of rows that there are not", "scores.npz", "npz(**{examine.KEPT: np.array([99999999]), 'prediction': np.zeros(1)})"),
        ("scores of rows that are no numbers", "scores.npz", "npz(**{examine.KEPT: np.array(['a']), 'prediction': np.zeros(1)})"),
        ("scores without their rows", "scores.npz", "npz(prediction=np.zeros(3))"),
        ("scores of another length", "scores.npz", "npz(**{examine.KEPT: np.arange(5), 'prediction': np.zeros(3)})"),
        ("scores that are text", "scores.npz", "npz(**{examine.KEPT: np.arange(5), 'prediction': np.array(['a'] * 5)})"),
        ("scores that say they are 2**60", "scores.npz", "lambda place: zipfile.ZipFile(place, 'w').writestr(examine.KEPT + '.npy', b'\\x93NUMPY\\x01\\x00' + struct.pack('<H', 118) + b\"{'descr': '<i8', 'fortran_order': False, 'shape': (1152921504606846976,), }\".ljust(117) + b'\\n')"),
        ("scores that are a bomb", "scores.npz", "bomb"),
        ("scores that are a link to the secret", "scores.npz", f"lambda place: place.symlink_to({target.secret!r})"),
    ):  # fmt: skip
        yield f"leaves {what}", f"leaves({name!r}, {data})"
    yield "leaves a graph that is a link to the secret", _graph(f"lambda place: place.symlink_to({target.secret!r})")
    yield "leaves a graph that is a pipe", _graph("lambda place: os.mkfifo(place)")
    yield (
        "leaves a graph of three gigabytes",
        _graph("lambda place: os.truncate(os.open(place, os.O_CREAT | os.O_RDWR), 3 << 30)"),
    )
    yield "leaves a graph that is none", _graph("b'evil'")
    yield "leaves a graph of nothing", _graph("b''")
    yield "leaves a graph with numbers elsewhere", _graph(f"outside({target.secret!r})")
    yield "leaves a graph with another's operators", _graph("foreign('com.evil')")
    yield "leaves a graph in ONNX Runtime's own form", _graph("b'\\x18\\0\\0\\0ORTM' + bytes(200)")


_BOMB = """
def bomb(place):
    with zipfile.ZipFile(place, 'w', zipfile.ZIP_DEFLATED) as out:
        with out.open(examine.KEPT + '.npy', 'w', force_zip64=True) as member:
            member.write(b'\\x93NUMPY\\x01\\x00' + struct.pack('<H', 118) + b"{'descr': '|u1', 'fortran_order': False, 'shape': (4294967296,), }".ljust(117) + b'\\n')
            for _ in range(256):
                member.write(bytes(16 << 20))
def outside(secret):
    from onnx import TensorProto, helper
    model = helper.make_model(helper.make_graph([helper.make_node('Identity', ['X'], ['prediction'])], 'g', [], [],
        [helper.make_tensor('w', TensorProto.FLOAT, [1], [1.0])]))
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    del tensor.float_data[:]
    entry = tensor.external_data.add()
    entry.key, entry.value = 'location', secret
    return model.SerializeToString()
def foreign(domain):
    from onnx import helper
    return helper.make_model(helper.make_graph([helper.make_node('Evil', ['X'], ['prediction'], domain=domain)], 'g', [], []),
        opset_imports=[helper.make_opsetid(domain, 1)]).SerializeToString()
"""


def _graph(data: str) -> str:
    return f"leaves('model.onnx', {data}); old = examine.msgspec.change; examine.msgspec.change = lambda told: (old(told), told.update(engine='onnxruntime'))[0]"


def artifacts() -> Iterator[Artifact]:
    """All of them."""
    for name in dict(answers(Target(Path("."), "marker", "secret", 1))):

        def make(folder: Path, target: Target, name: str = name) -> Path:
            (folder / FILE).write_text(f"{_CLASS}{_BOMB}\n{dict(answers(target))[name]}\n")
            return Path(f"{folder / FILE}:Evil")

        yield Artifact(FAMILY, name, "class", make)
