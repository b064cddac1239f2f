"""Packages' folders that somebody made by hand: every digest is right, and what lies under it is hostile.

The model is another kind of file than the manifest says, or the examples, the profile, the lock, the bill or the
manifest itself is a bomb. They come in unsigned, signed by strangers, and signed by a key that is trusted.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.security.artifacts.artifact import Artifact, Target
from tests.security.artifacts.onnxes import graph
from tests.security.artifacts.opcodes import call, fitted, pickled
from tests.security.artifacts.zips import zipped

FAMILY = "package by hand"
Files = dict[str, bytes]
Change = Callable[[dict, Files, Target], object]
_HASH = "--hash=sha256:" + "0" * 64
_DEEP = b"[" * 100_000 + b"]" * 100_000
_HUGE = b"9" * 5000


def whole() -> tuple[dict, Files]:
    """A package that is right: its manifest's tree and its other files."""
    rows = [[0.5, 1.5, 2.5], [1.0, 0.0, 3.0]]
    answers = [[row[0] + 2 * row[1] + 3 * row[2]] for row in rows]
    golden = {"inputs": {"X": rows}, "outputs": {"prediction": answers}, "tolerance": 1e-5, "rows": 2}
    tensor = {"datatype": "FP32", "nullable": False, "columns": []}
    manifest = {
        "format": 1,
        "name": "hostile",
        "kind": "onnx",
        "engine": "onnxruntime",
        "entry": "model/model.onnx",
        "task": "regression",
        "signature": {
            "inputs": [{"name": "X", "shape": [-1, 3], **tensor}],
            "outputs": [{"name": "prediction", "shape": [-1, 1], **tensor}],
        },
        "files": {},
    }
    return manifest, {"model/model.onnx": graph().SerializeToString(), "golden.json": json.dumps(golden).encode()}


def _evil(target: Target) -> bytes:
    """A pickle that runs everything, and is a model that works afterwards."""
    return pickled(call("builtins", "exec", target.source) + b"0" + fitted())


def _original(kind: str, name: str, data: Callable[[Target], Files], engine: str = "python") -> Change:
    """The model is an original of a kind."""

    def change(manifest: dict, files: Files, target: Target) -> None:
        del files["model/model.onnx"]
        files |= {f"model/original{suffix}": one for suffix, one in data(target).items()}
        manifest.update(kind=kind, engine=engine, entry=f"model/original{name}")

    return change


def _put(name: str, data: Callable[[Target], bytes] | bytes) -> Change:
    return lambda manifest, files, target: files.update({name: data if isinstance(data, bytes) else data(target)})


def _golden(text: bytes) -> Change:
    return _put("golden.json", text)


def _said(**fields: object) -> Change:
    return lambda manifest, files, target: manifest.update(fields)


def _signed(**fields: object) -> Change:
    return lambda manifest, files, target: manifest["signature"]["inputs"][0].update(fields)


def _locked(text: str) -> Change:
    """A model that runs as it is, with a lock for whoever makes its environment."""

    def change(manifest: dict, files: Files, target: Target) -> None:
        _original("sklearn", ".joblib", lambda _: {".joblib": pickled(fitted())})(manifest, files, target)
        files["requirements.lock"] = text.replace("PORT", str(target.port)).replace("MARKER", target.marker).encode()
        manifest["lock_digest"] = hashlib.sha256(files["requirements.lock"]).hexdigest()

    return change


def changes() -> Iterator[tuple[str, Change]]:
    """What is wrong with it."""
    for kind, name in {
        "sklearn": ".joblib", "lightgbm": ".txt", "xgboost": ".ubj", "skops": ".skops", "catboost": ".cbm", "torch": ".pt", "keras": ".keras",
        "savedmodel": "/saved_model.pb", "huggingface": "/config.json", "mlflow": "/MLmodel", "python": "/penstock_entry.py", "mar": "/MAR-INF/MANIFEST.json",
        "onnx": ".onnx", "evil": ".evil",
    }.items():  # fmt: skip
        yield (
            f"a pickle that is said to be {kind}",
            _original(kind, name, lambda target, name=name: {name: _evil(target)}),
        )
    yield (
        "a torch pickle that is said to be a program",
        _original(
            "torch",
            ".pt2",
            lambda t: {".pt2": zipped({"m/data.pkl": _evil(t), "m/version": b"3\n", "m/byteorder": b"little"})},
        ),
    )
    yield (
        "a torch pickle that is said to be a script",
        _original(
            "torch",
            ".pt",
            lambda t: {
                ".pt": zipped(
                    {
                        "m/data.pkl": _evil(t),
                        "m/constants.pkl": _evil(t),
                        "m/code/__torch__.py": b"op_version_set = 1\n",
                        "m/version": b"3\n",
                    }
                )
            },
        ),
    )
    yield (
        "code that is said to be a class",
        _original("python", "/penstock_entry.py", lambda t: {"/penstock_entry.py": t.source.encode()}),
    )
    yield (
        "a pickle where MLflow's model is",
        _original(
            "mlflow",
            "/MLmodel",
            lambda t: {
                "/MLmodel": b"flavors:\n  sklearn: {pickled_model: model.pkl}\n  python_function: {loader_module: mlflow.sklearn}\n",
                "/model.pkl": _evil(t),
            },
        ),
    )
    yield (
        "MLmodel with YAML that makes objects",
        _original(
            "mlflow", "/MLmodel", lambda t: {"/MLmodel": f"!!python/object/apply:os.system ['{t.shell}']\n".encode()}
        ),
    )
    yield (
        "MLmodel that is a bomb of YAML",
        _original(
            "mlflow",
            "/MLmodel",
            lambda t: {
                "/MLmodel": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
                + b"".join(
                    b"%c: &%c [%s]\n" % (98 + at, 98 + at, b",".join([b"*%c" % (97 + at)] * 9)) for at in range(12)
                )
            },
        ),
    )
    yield "a pickle where the graph is", _put("model/model.onnx", _evil)
    yield "a script where the graph is", _put("model/model.onnx", lambda t: b"#!/bin/sh\n" + t.shell.encode())
    yield "a library where the graph is", _put("model/model.onnx", b"\x7fELF\x02\x01\x01" + bytes(500))
    yield (
        "an archive where the graph is",
        _put("model/model.onnx", lambda t: zipped({"model.onnx": graph().SerializeToString()})),
    )
    yield "a graph of a sandboxed engine", _said(engine="python")
    for engine in (
        "os:system",
        "penstock.runtime.sandbox:run_task",
        "../../evil",
        "",
        "onnxruntime\0",
        "subprocess",
        "Python",
    ):
        yield f"an engine called {engine!r}", _said(engine=engine)
    for entry in (
        "../../etc/passwd",
        "/etc/passwd",
        "golden.json",
        "manifest.json",
        "model",
        "model/../golden.json",
        "MODEL/model.onnx",
        "model\\model.onnx",
    ):
        yield f"an entry {entry}", _said(entry=entry)
    for what, text in {
        "a hundred thousand deep": b'{"inputs":{"X":%s},"outputs":{"prediction":[]},"tolerance":1,"rows":1}' % _DEEP,
        "nine hundred deep": b'{"inputs":{"X":%s},"outputs":{"prediction":[]},"tolerance":1,"rows":1}' % (b"[" * 900 + b"]" * 900),
        "of numbers of 5000 digits": b'{"inputs":{"X":[[%s,1,1]]},"outputs":{"prediction":[[%s]]},"tolerance":1,"rows":1}' % (_HUGE, _HUGE),
        "of numbers beyond floats": b'{"inputs":{"X":[[1e999,1,1]]},"outputs":{"prediction":[[1]]},"tolerance":1,"rows":1}',
        "of text": b'{"inputs":{"X":[["a","b","c"]]},"outputs":{"prediction":[["d"]]},"tolerance":1,"rows":1}',
        "of objects": b'{"inputs":{"X":[[{"__reduce__":"os.system"},{},{}]]},"outputs":{"prediction":[[{}]]},"tolerance":1,"rows":1}',
        "of rows of other lengths": b'{"inputs":{"X":[[1,2,3],[1]]},"outputs":{"prediction":[[1],[2]]},"tolerance":1,"rows":1}',
        "of no rows, and a billion said": b'{"inputs":{"X":[]},"outputs":{"prediction":[]},"tolerance":1,"rows":1000000000}',
        "of another rank": b'{"inputs":{"X":[1,2,3]},"outputs":{"prediction":[1,2,3]},"tolerance":1,"rows":3}',
        "that take any answer": b'{"inputs":{"X":[[1,2,3]]},"outputs":{"prediction":[[99999]]},"tolerance":1e308,"rows":1}',
        "that hold one key twice": b'{"inputs":{"X":[[1,2,3]],"X":[[7,7,7]]},"outputs":{"prediction":[[14]]},"tolerance":1,"rows":1}',
        "that are no JSON": b"{", "of half a character": b'{"inputs":{"\\ud800":1}}', "that are not UTF-8": b'{"\xff\xfe":1}',
        "that are a pickle": pickled(call("os", "system", "true")), "that are nothing": b"", "of YAML": b"!!python/object/apply:os.system ['true']",
        "that are packed": zlib.compress(b"{}"), "of a thousand columns that there are not": json.dumps({"inputs": {f"c{at}": [1] for at in range(1000)}, "outputs": {}, "tolerance": 1, "rows": 1}).encode(),
    }.items():  # fmt: skip
        yield f"examples {what}", _golden(text)
    yield "no examples", lambda manifest, files, target: files.pop("golden.json")
    for what, fields in {
        "a type of objects": {"datatype": "OBJECT"}, "a type of nobody": {"datatype": "FP128"}, "a shape of 2**62": {"shape": [-1, 1 << 62]},
        "a shape of a million ones": {"shape": [-1] + [1] * 100_000}, "no shape": {"shape": []}, "a shape below zero": {"shape": [-1, -7]},
        "no name": {"name": ""}, "a name that climbs": {"name": "../../X"}, "a name that cleans the screen": {"name": "\x1b[2J"}, "a name of a megabyte": {"name": "x" * 1_000_000},
    }.items():  # fmt: skip
        yield f"an input of {what}", _signed(**fields)
    yield "no inputs", lambda manifest, files, target: manifest["signature"].update(inputs=[])
    yield "no outputs", lambda manifest, files, target: manifest["signature"].update(outputs=[])
    yield (
        "an input twice",
        lambda manifest, files, target: manifest["signature"]["inputs"].append(manifest["signature"]["inputs"][0]),
    )
    for what, said in {
        "a format of the future": {"format": 1 << 62}, "a format below zero": {"format": -1}, "a format that is text": {"format": "1"},
        "a name that climbs": {"name": "../../hostile"}, "a name that cleans the screen": {"name": "\x1b[2J"}, "a name of a megabyte": {"name": "n" * 1_000_000},
        "no name": {"name": ""}, "a task of nobody": {"task": "os.system"}, "classes of a million": {"classes": list(range(300_000))},
        "classes that are objects": {"classes": [{"__reduce__": "os.system"}]}, "a parent elsewhere": {"parent": "../../../etc/passwd"}, "a time that never was": {"created_at": -1e308},
        "sources with code": {"source": {"environment": "$(touch harm)", "repository": "file:///etc/passwd"}},
    }.items():  # fmt: skip
        yield f"it says {what}", _said(**said)
    for name in (
        "../up",
        "/tmp/up",
        "model/../../up",
        ".hidden",
        "a\\..\\up",
        "a//b",
        "модель",
        "con.",
        "signature.json",
        "x" * 300,
        "a/" * 20 + "b",
    ):
        yield (
            f"it lists a file {name[:30]}",
            lambda manifest, files, target, name=name: manifest["files"].update(
                {name: {"sha256": "0" * 64, "size": 1}}
            ),
        )
    yield (
        "it lists a file of 2**63 bytes",
        lambda manifest, files, target: manifest["files"].update({"big": {"sha256": "0" * 64, "size": 1 << 63}}),
    )
    yield (
        "it lists a hundred thousand files",
        lambda manifest, files, target: manifest["files"].update(
            {f"f{at}": {"sha256": "0" * 64, "size": 0} for at in range(40_000)}
        ),
    )
    for what, text in {
        "options": f"numpy==0.1 {_HASH} --find-links=http://127.0.0.1:PORT/\n", "options of their own": f"--hash=sha256:00 --find-links MARKER\nnumpy==0.1 {_HASH}\n",
        "sources to be built": f"numpy==0.1 {_HASH} --no-binary=:all:\n", "another file": "-r /etc/passwd\n", "an address": f"numpy @ http://127.0.0.1:PORT/numpy.whl {_HASH}\n",
        "a path": "./evil\n", "a variable": f"numpy==${{PENSTOCK_CANARY}} {_HASH}\n", "a project in the making": "-e git+https://x/y\n", "settings of a build": f"numpy==0.1 {_HASH} --config-settings=a=b\n",
        "ten megabytes": "#" * (10 << 20), "half a character": "numpy==\x00\n", "no versions": "numpy\n", "no worker's needs": f"nothing==1 {_HASH}\n",
    }.items():  # fmt: skip
        yield f"a lock of {what}", _locked(text)
    bomb = zipped({"zeros": bytes(64 << 20)}, method=8)
    for what, name, data in (
        ("a profile a hundred thousand deep", "profile.json", b'{"rows":' + _DEEP + b"}"),
        ("a profile of numbers of 5000 digits", "profile.json", b'{"rows":' + _HUGE + b"}"),
        ("a profile that is a pickle", "profile.json", pickled(call("os", "system", "true"))),
        ("a parity report a hundred thousand deep", "parity.json", _DEEP),
        ("a bill a hundred thousand deep", "bom.cdx.json", b'{"components":' + _DEEP + b"}"),
        ("a bill that is XML with entities", "bom.cdx.json", b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>'),
        ("a card with a script", "README.md", b"<script>alert(1)</script>\n"),
        ("a description in YAML that makes objects", "card.yaml", b"!!python/object/apply:os.system ['true']\n"),
        ("an archive that is a bomb", "more.zip", bomb),
        ("a module beside it", "sitecustomize.py", b"import os; os._exit(3)\n"),
        ("a path file beside it", "evil.pth", b"import os; os._exit(3)\n"),
        ("a library beside it", "model/libonnxruntime_custom.so", b"\x7fELF" + bytes(99)),
        ("settings beside it", "penstock.yaml", b"!!python/object/apply:os.system ['true']\n"),
    ):  # fmt: skip
        yield what, _put(name, data)


def raw_manifests() -> Iterator[tuple[str, Callable[[bytes], bytes]]]:
    """What may be wrong with the manifest's own bytes."""
    yield "a manifest a hundred thousand deep", lambda data: data[:-1] + b',"more":' + _DEEP + b"}"
    yield "a manifest that says one thing twice", lambda data: data[:-1] + b',"engine":"python","kind":"sklearn"}'
    yield "a manifest with something behind it", lambda data: data + b"{}"
    yield "a manifest of UTF-16", lambda data: data.decode().encode("utf-16")
    yield "a manifest with a mark of its order", lambda data: b"\xef\xbb\xbf" + data
    yield "a manifest of half a character", lambda data: data.replace(b'"hostile"', b'"\\ud800"')
    yield "a manifest that is not UTF-8", lambda data: data.replace(b'"hostile"', b'"\xff\xfe"')
    yield "a manifest of a number without end", lambda data: data.replace(b'"format": 1', b'"format": 1' + b"0" * 5000)
    yield "a manifest of five megabytes", lambda data: data[:-1] + b" " * (5 << 20) + b"}"
    yield "a manifest that is nothing", lambda data: b""
    yield "a manifest that is a list", lambda data: b"[]"


def written(folder: Path, change: Change, target: Target, raw: Callable[[bytes], bytes] = bytes) -> Path:
    """The folder, every digest right."""
    manifest, files = whole()
    change(manifest, files, target)
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
        manifest["files"].setdefault(name, {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)})
    (folder / "manifest.json").write_bytes(raw(json.dumps(manifest).encode()))
    return folder


def artifacts() -> Iterator[Artifact]:
    """All of them."""
    for name, change in changes():
        yield Artifact(
            FAMILY, name, "package", lambda folder, target, change=change: written(folder / "p", change, target)
        )
    for name, raw in raw_manifests():
        yield Artifact(
            FAMILY, name, "package", lambda folder, target, raw=raw: written(folder / "p", lambda *_: None, target, raw)
        )
