"""Models that are folders: encoders with safetensors and tokenizers, and what MLflow logs."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from tests.security.artifacts.artifact import Artifact, Target
from tests.security.artifacts.opcodes import call, pickled

ENCODER = Path(__file__).parents[2] / "golden" / "encoder"
WEIGHTS = "model.safetensors"
Make = Callable[[Path, Target], None]


def tensors(header: object, data: bytes = b"", size: int | None = None) -> bytes:
    """A safetensors file whose header says what it likes."""
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(head) if size is None else size) + head + data


def _entry(kind: object = "F32", shape: object = (2,), offsets: object = (0, 8), **more: object) -> dict[str, object]:
    return {"dtype": kind, "shape": shape, "data_offsets": offsets, **more}


def weights() -> dict[str, bytes]:
    """What may be wrong with a safetensors file."""
    eight, sixteen = bytes(8), bytes(16)
    return {
        "nothing": b"", "seven bytes": bytes(7), "a header of 2**64 bytes": tensors(b"{}", eight, (1 << 64) - 1),
        "a header of 2**63 bytes": tensors(b"{}", eight, 1 << 63), "a header that ends behind the file": tensors(b"{}", b"", 100),
        "a header of 100 MiB": tensors(b" " * (100 << 20)), "a header that is no JSON": tensors(b"{", eight),
        "a header that is a list": tensors([], eight), "a header that is a pickle": tensors(pickled(call("os", "system", "true")), eight),
        "a header a hundred thousand deep": tensors(b"[" * 100_000, eight), "a header of half a character": tensors(b'{"\\ud800": 1}', eight),
        "a header that is not UTF-8": tensors(b"\xff\xfe{}", eight), "a name twice": tensors(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', eight),
        "overlapping tensors": tensors({"a": _entry(), "b": _entry(offsets=(4, 12))}, sixteen),
        "the same place twice": tensors({"a": _entry(), "b": _entry()}, eight),
        "a gap": tensors({"a": _entry(), "b": _entry(offsets=(12, 20))}, bytes(20)),
        "data behind the tensors": tensors({"a": _entry()}, sixteen), "data before the tensors": tensors({"a": _entry(offsets=(8, 16))}, sixteen),
        "a place out of the file": tensors({"a": _entry(offsets=(0, 800))}, eight), "a place before the file": tensors({"a": _entry(offsets=(-8, 0))}, eight),
        "a place backwards": tensors({"a": _entry(offsets=(8, 0))}, eight), "a place of 2**63": tensors({"a": _entry(offsets=(0, 1 << 63))}, eight),
        "a place that is text": tensors({"a": _entry(offsets=("0", "8"))}, eight), "a place of one number": tensors({"a": _entry(offsets=(0,))}, eight),
        "a place of three numbers": tensors({"a": _entry(offsets=(0, 8, 16))}, eight), "a place that is a half": tensors({"a": _entry(offsets=(0.0, 8.0))}, eight),
        "a shape below zero": tensors({"a": _entry(shape=(-1, -2))}, eight), "a shape of 2**62": tensors({"a": _entry(shape=(1 << 62,))}, eight),
        "a shape that is true": tensors({"a": _entry(shape=(True, 2))}, eight), "a shape of a number with ten thousand digits": tensors(b'{"a":{"dtype":"F32","shape":[' + b"9" * 10_000 + b'],"data_offsets":[0,8]}}', eight),
        "a thousand dimensions": tensors({"a": _entry(shape=(1,) * 1000, offsets=(0, 4))}, bytes(4)), "an infinite shape": tensors(b'{"a":{"dtype":"F32","shape":[Infinity],"data_offsets":[0,8]}}', eight),
        "another size than its shape": tensors({"a": _entry(shape=(3,))}, eight), "a type of nobody": tensors({"a": _entry(kind="F128")}, eight),
        "a type that is a list": tensors({"a": _entry(kind=["F32"])}, eight), "a type of Python's": tensors({"a": _entry(kind="O")}, eight),
        "a tensor that says more": tensors({"a": _entry(__reduce__="os.system")}, eight), "a tensor that is text": tensors({"a": "os.system"}, eight),
        "no tensors": tensors({}), "other tensors": tensors({"a": _entry()}, eight),
    }  # fmt: skip


def encoders() -> Iterator[tuple[str, Make]]:
    """Hugging Face folders."""
    for what, data in weights().items():
        yield f"weights: {what}", lambda folder, target, data=data: _put(folder, WEIGHTS, data)
    yield (
        "weights that are a pickle",
        lambda folder, target: _put(folder, WEIGHTS, pickled(call("os", "system", target.shell))),
    )
    for key, value in {
        "auto_map": {"AutoModel": "evil.Model"}, "model_type": "evil", "hidden_act": "__import__('os').system('true')",
        "position_embedding_type": "evil", "num_hidden_layers": 1 << 40, "hidden_size": -1, "num_attention_heads": 0,
        "max_position_embeddings": 1e300, "layer_norm_eps": "nan",
    }.items():  # fmt: skip
        yield (
            f"a configuration whose {key} is hostile",
            lambda folder, target, key=key, value=value: _changed(folder, "config.json", key, value),
        )
    for steps in ("evil.Model", "sentence_transformers.models.Asym", "os.system"):
        yield (
            f"modules of {steps}",
            lambda folder, target, steps=steps: _put(
                folder, "modules.json", json.dumps([{"idx": 0, "path": "", "type": steps}]).encode()
            ),
        )
    yield (
        "a module elsewhere",
        lambda folder, target: _put(
            folder,
            "modules.json",
            json.dumps(
                [{"type": "Transformer", "path": "../../.."}, {"type": "evil.Evil", "path": target.secret}]
            ).encode(),
        ),
    )
    for what, value in {
        "a normalizer of code": {"normalizer": {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": ""}},
        "a pre-tokenizer of nobody": {"pre_tokenizer": {"type": "Evil"}}, "another model": {"model": {"type": "BPE", "vocab": {}, "merges": []}},
        "a vocabulary below zero": {"model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": {"[UNK]": -5, "[CLS]": -1, "[SEP]": 1 << 70}}},
        "a vocabulary that is a list": {"model": {"type": "WordPiece", "vocab": ["a"]}}, "no post-processor": {"post_processor": {"type": "Evil"}},
        "words of a gigabyte": {"model": {"type": "WordPiece", "unk_token": "[UNK]", "max_input_chars_per_word": 1 << 62, "vocab": {}}},
    }.items():  # fmt: skip
        yield f"a tokenizer with {what}", lambda folder, target, value=value: _merged(folder, "tokenizer.json", value)
    for name in ("config.json", "tokenizer.json", "modules.json", "1_Pooling/config.json", "sentence_bert_config.json"):
        yield f"{name} that is no JSON", lambda folder, target, name=name: _put(folder, name, b"{")
        yield f"{name} a hundred thousand deep", lambda folder, target, name=name: _put(folder, name, b"[" * 100_000)
        if name != "sentence_bert_config.json":  # which may be missing
            yield f"{name} that is a pipe", lambda folder, target, name=name: _pipe(folder, name)
        yield f"{name} that is a link", lambda folder, target, name=name: _link(folder, name, target.secret)
    yield "a folder that is a link", _linked_folder
    yield "weights with a second name", _second_name


def logged() -> Iterator[tuple[str, Make]]:
    """MLflow's folders: `MLmodel` names modules, files and code."""
    for what, flavors in {
        "a loader of the system": {"python_function": {"loader_module": "os"}},
        "a loader that runs code": {"python_function": {"loader_module": "evil", "code": "code"}},
        "a loader of pickles": {"python_function": {"loader_module": "mlflow.pyfunc.model", "python_model": "model.pkl", "cloudpickle_version": "3"}},
        "a loader with code in its name": {"python_function": {"loader_module": "os;import evil"}},
        "a loader with a path": {"python_function": {"loader_module": "../../evil"}},
        "a loader that is a number": {"python_function": {"loader_module": 7}},
        "no loader": {"python_function": {}},
        "a pickle elsewhere": {"python_function": {"loader_module": "mlflow.sklearn", "model_path": "/etc/passwd"}, "sklearn": {"pickled_model": "/etc/passwd"}},
        "a pickle that climbs": {"python_function": {"loader_module": "mlflow.sklearn"}, "sklearn": {"pickled_model": "../../secret"}},
        "a hostile pickle": {"python_function": {"loader_module": "mlflow.sklearn", "code": "code"}, "sklearn": {"pickled_model": "model.pkl", "code": "code"}},
        "a hostile pickle as LightGBM": {"python_function": {"loader_module": "mlflow.lightgbm", "data": "model.pkl"}, "lightgbm": {"data": "model.pkl"}},
        "a hostile pickle as XGBoost": {"python_function": {"loader_module": "mlflow.xgboost", "data": "model.pkl"}, "xgboost": {"data": "model.pkl"}},
        "a hostile pickle as ONNX": {"python_function": {"loader_module": "mlflow.onnx", "data": "model.pkl"}, "onnx": {"data": "model.pkl"}},
        "a hostile pickle as CatBoost": {"python_function": {"loader_module": "mlflow.catboost", "data": "model.pkl"}, "catboost": {"data": "model.pkl"}},
        "code elsewhere": {"python_function": {"loader_module": "evil", "code": "../../code"}},
        "code absolute": {"python_function": {"loader_module": "evil", "code": "/tmp"}},
        "a model of torch": {"python_function": {"loader_module": "mlflow.pytorch", "data": "data"}, "pytorch": {"model_data": "data", "pickle_module_name": "os"}},
        "a model of TensorFlow": {"python_function": {"loader_module": "mlflow.tensorflow"}, "tensorflow": {"saved_model_dir": "../.."}},
        "a model of Spark": {"python_function": {"loader_module": "mlflow.spark", "data": "sparkml"}},
        "a chain of LangChain": {"python_function": {"loader_module": "mlflow.langchain"}, "langchain": {"model_data": "model.yaml"}},
        "flavors that are a list": ["python_function"],
    }.items():  # fmt: skip
        yield (
            what,
            lambda folder, target, flavors=flavors: _mlmodel(folder, target, yaml.safe_dump({"flavors": flavors})),
        )
    for what, text in {
        "a tag that calls": "flavors: !!python/object/apply:os.system ['touch harm']\n",
        "a tag that imports": "flavors: !!python/module:evil\n",
        "a name of Python's": "flavors: !!python/name:os.system\n",
        "an object of Python's": "flavors: !!python/object/new:subprocess.Popen [['/bin/sh']]\n",
        "aliases upon aliases": "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nflavors: *c\n",
        "a key twice": "flavors: {python_function: {loader_module: mlflow.sklearn, loader_module: evil}}\n",
        "two documents": "flavors: {}\n---\nflavors: {python_function: {loader_module: evil}}\n",
        "no YAML": "flavors: [\n", "nothing": "", "a merge": "base: &b {loader_module: evil}\nflavors: {python_function: {<<: *b}}\n",
        "a hundred thousand brackets": "[" * 100_000,
    }.items():  # fmt: skip
        yield f"MLmodel: {what}", lambda folder, target, text=text: _mlmodel(folder, target, text)
    yield "MLmodel: two megabytes", lambda folder, target: _mlmodel(folder, target, "a: b\n" * 500_000)
    yield "MLmodel: bytes that are no text", lambda folder, target: _put(folder, "MLmodel", b"\xff\xfe\0\0")
    sklearn = yaml.safe_dump(
        {"flavors": {"python_function": {"loader_module": "mlflow.sklearn"}, "sklearn": {"pickled_model": "model.pkl"}}}
    )
    for what, change in {
        "a link in it": lambda folder, target: os.symlink(target.secret, folder / "more.txt"),
        "a linked folder in it": lambda folder, target: os.symlink(target.folder, folder / "more"),
        "a second name in it": lambda folder, target: os.link(target.secret, folder / "more.txt"),
        "a pipe in it": lambda folder, target: os.mkfifo(folder / "more.txt"),
        "a name of nobody's in it": lambda folder, target: (folder / "a b;c").write_text("x"),
        "the pickle a link": lambda folder, target: (folder / "model.pkl").unlink() or os.symlink(target.secret, folder / "model.pkl"),
        "a file named like ours": lambda folder, target: (folder / "penstock_entry.py").write_text(target.source),
        "a module of Python's beside it": lambda folder, target: [(folder / f"{one}.py").write_text(target.source) for one in ("sklearn", "numpy", "joblib", "usercustomize", "sitecustomize", "yaml")],
    }.items():  # fmt: skip

        def made(folder: Path, target: Target, change: Make = change) -> None:
            _mlmodel(folder, target, sklearn)
            change(folder, target)

        yield what, made


def artifacts() -> Iterator[Artifact]:
    """All of them."""
    for family, source, first in (("encoder", encoders, True), ("mlflow", logged, False)):
        for name, change in source():

            def make(folder: Path, target: Target, change: Make = change, first: bool = first) -> Path:
                place = folder / "model"
                if first:
                    shutil.copytree(ENCODER, place)
                    (place / "expected.json").unlink(missing_ok=True)
                else:
                    place.mkdir()
                change(place, target)
                return place

            yield Artifact(family, name, "build", make)


def _put(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)


def _changed(folder: Path, name: str, key: str, value: object) -> None:
    tree = json.loads((folder / name).read_bytes())
    if key == "auto_map":
        (folder / "evil.py").write_text("raise SystemExit\n")
        tree["model_type"] = "evil"
    _put(folder, name, json.dumps(tree | {key: value}).encode())


def _merged(folder: Path, name: str, value: dict[str, object]) -> None:
    _put(folder, name, json.dumps(json.loads((folder / name).read_bytes()) | value).encode())


def _pipe(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)


def _link(folder: Path, name: str, to: str) -> None:
    (folder / name).unlink()
    os.symlink(to, folder / name)


def _linked_folder(folder: Path, target: Target) -> None:
    (target.folder / "config.json").write_text(Path(target.secret).read_text())
    shutil.rmtree(folder / "1_Pooling")
    os.symlink(target.folder, folder / "1_Pooling")


def _second_name(folder: Path, target: Target) -> None:
    (folder / WEIGHTS).unlink()
    os.link(target.secret, folder / WEIGHTS)


def _mlmodel(folder: Path, target: Target, text: str) -> None:
    (folder / "MLmodel").write_text(text)
    (folder / "model.pkl").write_bytes(pickled(call("os", "system", target.shell)))
    (folder / "python_model.pkl").write_bytes(pickle.dumps({"a": 1}))
    (folder / "code").mkdir(exist_ok=True)
    (folder / "code" / "evil.py").write_text(target.source + "\ndef _load_pyfunc(path):\n    return None\n")
    (folder / "evil.py").write_text(target.source)
