"""What would a SavedModel run? Its operations, told from its ``saved_model.pb`` without TensorFlow.

    message -> operations of the graph and of each function -> allowed? -> names, and those that are refused with places

Every operation counts, whether or not a signature reaches it. The one exception is what TensorFlow writes into each
SavedModel to save and restore its variables with: functions that read and write any path. They stay where nothing but
the saver's own nodes calls them, since nobody here ever runs those.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from penstock.build.format import Audit
from penstock.build.tensorflow.operations import ALLOWED, CHECKPOINT
from penstock.build.tensorflow.saved_messages import Message
from penstock.errors import BadConfig, InvalidInput, Untrusted

LIBRARY = "tensorflow"
MAX_NODES = 2_000_000
GRAPH = "the graph"

_WORD = re.compile(r"[\w.>/-]{1,80}")
_REGISTERED = re.compile(r"tf\.\w{1,60}")


def audit_graph(saved: Message, assets: frozenset[str]) -> Audit:
    """Everything that loading and asking a SavedModel may run.

    Args:
        saved: From `penstock.build.tensorflow.saved_messages.read_saved_model`.
        assets: Names of the files in its assets folder.

    Raises:
        InvalidInput: It holds several models, or too much.
        BadConfig: TensorFlow 1 wrote it.
        Untrusted: It names a file that is not there, or contradicts itself.
    """
    if len(saved.meta_graphs) != 1:
        raise InvalidInput(
            f"the SavedModel holds {len(saved.meta_graphs)} models", "export the one to serve", where="saved_model.pb"
        )
    (meta,) = saved.meta_graphs
    if not meta.object_graph_def.nodes:
        raise BadConfig(
            "the SavedModel is of TensorFlow 1", "load it and save it again with TensorFlow 2", code="build.old_format"
        )
    functions = {one.signature.name: one for one in meta.graph_def.library.function}
    if len(functions) != len(meta.graph_def.library.function):
        raise Untrusted("two functions of the SavedModel have one name", "export it again", where="saved_model.pb")
    if sum(len(one.node_def) for one in functions.values()) + len(meta.graph_def.node) > MAX_NODES:
        raise InvalidInput(f"the SavedModel has more than {MAX_NODES} operations", "export a smaller one")
    _require_assets(meta, assets)
    bodies = {GRAPH: list(meta.graph_def.node)} | {name: list(one.node_def) for name, one in functions.items()}
    names = {node.op for nodes in bodies.values() for node in nodes}
    refused = dict.fromkeys(
        f"{_word(node.op)} (in {_word(place)})"
        for place, nodes in bodies.items()
        for node in nodes
        if node.op not in ALLOWED | CHECKPOINT and node.op not in functions
    )
    refused |= dict.fromkeys(_saver_elsewhere(meta, functions))
    refused |= dict.fromkeys(_foreign_objects(meta))
    return Audit(names=(LIBRARY, *sorted(map(_word, names))), refused=tuple(refused))


def _saver_elsewhere(meta: Message, functions: dict[str, Message]) -> Iterator[str]:
    """Where files of variables are read or written by anything but the saver, which is never run."""
    saver = {name for name, one in functions.items() if any(node.op in CHECKPOINT for node in one.node_def)}
    for name, one in functions.items():
        for node in one.node_def:
            for called in _called(node) & saver:
                yield f"files by {_word(called)} (called in {_word(name)})"
    objects = meta.object_graph_def.SerializeToString()
    gradients = meta.graph_def.library
    named = {one.gradient_func for one in (*gradients.gradient, *gradients.registered_gradients)}
    for name in saver:
        if name.encode() in objects or name in named:
            yield f"files by {_word(name)} (a function of the model's objects)"
    for node in _reachable(meta):
        if node.op in CHECKPOINT or _called(node) & saver:
            yield f"files by {_word(node.op)} (in {GRAPH}, where signatures reach it)"


def _reachable(meta: Message) -> list[Message]:
    """Nodes of the graph that a signature or the initialisation needs; the saver's own are not among them."""
    nodes = {node.name: node for node in meta.graph_def.node}
    waiting = [info.name for one in meta.signature_def.values() for info in one.outputs.values()]
    waiting += [value for one in meta.collection_def.values() for value in one.node_list.value]
    waiting += [one.tensor_info.name for one in meta.asset_file_def]
    found: dict[str, Message] = {}
    while waiting:
        name = waiting.pop().removeprefix("^").partition(":")[0]
        if name in nodes and name not in found:
            found[name] = nodes[name]
            waiting += nodes[name].input
    return list(found.values())


def _called(node: Message) -> set[str]:
    """Functions that an operation may call: itself one, or named in an attribute."""
    names = {node.op}
    waiting = list(node.attr.values())
    while waiting:
        value = waiting.pop()
        kind = value.WhichOneof("value")
        inner = [value.func] if kind == "func" else list(value.list.func) if kind == "list" else []
        for function in inner:
            names.add(function.name)
            waiting += function.attr.values()
    return names


def _foreign_objects(meta: Message) -> Iterator[str]:
    """Objects whose class is looked up by a name that TensorFlow itself does not register."""
    for node in meta.object_graph_def.nodes:
        for name in (node.registered_name, node.registered_saver):
            if name and not _REGISTERED.fullmatch(name):
                yield f"a class registered as {_word(name)}"


def _require_assets(meta: Message, assets: Iterable[str]) -> None:
    """Each asset is a file of the model's own folder."""
    for one in meta.asset_file_def:
        if one.filename not in assets:
            raise Untrusted(
                "the SavedModel names an asset that its folder lacks", "export it again", where="saved_model.pb"
            )


def _word(name: str) -> str:
    """A name out of the file, where it is one."""
    return name if _WORD.fullmatch(name) or name == GRAPH else "a name that is none"
