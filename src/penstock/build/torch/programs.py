"""What an exported program would do, told from its JSON: operators, sizes, and what PyTorch makes Python of.

Loading a program looks its operators up by name, evaluates its sizes as Python, and writes a function around its names.
So operators are held to those that compute, sizes to arithmetic, and names to names.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator

from penstock.build.torch.archive import TorchArchive, odd
from penstock.build.torch.pickles import audit_tensors

MAX_EXPRESSION = 20_000
_OPERATOR = re.compile(
    r"torch\.ops\.(aten|prims|prim|quantized|quantized_decomposed|_quantized)(\.[A-Za-z_][A-Za-z0-9_]*){1,2}"
    r"|torch\.ops\.higher_order\.(cond|while_loop|scan|map_impl|associative_scan|wrap_with_set_grad_enabled"
    r"|wrap_with_autocast|flex_attention|run_const_graph)"
    r"|torch\.(sym_(int|float|max|min|not|ite|sum|fresh_size)|_sym_sqrt)"
    r"|_operator\.(add|sub|mul|truediv|floordiv|mod|neg|pos|pow|abs|and_|or_|xor|invert|not_|eq|ne|lt|le|gt|ge|getitem"
    r"|lshift|rshift)"
    r"|math\.(ceil|floor|trunc|sqrt|pow|log2)"
)
_NEVER = re.compile(r"torch\.ops\.aten\.(from_file|save|load|_from_file|is_pinned|_pin_memory)(\.|$)")
_FUNCTIONS = frozenset(
    {
        "Symbol", "Integer", "Float", "Rational", "Add", "Mul", "Pow", "Mod", "Max", "Min", "Eq", "Ne", "Equality",
        "Unequality", "Lt", "Le", "Gt", "Ge", "StrictLessThan", "LessThan", "StrictGreaterThan", "GreaterThan", "And",
        "Or", "Not", "Piecewise", "ExprCondPair", "Abs", "floor", "ceiling", "FloorDiv", "ModularIndexing", "Where",
        "PythonMod", "CleanDiv", "CeilToInt", "FloorToInt", "CeilDiv", "LShift", "RShift", "PowByNatural", "FloatPow",
        "FloatTrueDiv", "IntTrueDiv", "IsNonOverlappingAndDenseIndicator", "TruncToInt", "TruncToFloat", "RoundToInt",
        "RoundDecimal", "ToFloat", "Identity", "BooleanTrue", "BooleanFalse",
    }
)  # fmt: skip
_ARITHMETIC = (
    ast.Expression, ast.Constant, ast.Name, ast.Load, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.Tuple,
    ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.Call, ast.keyword,
)  # fmt: skip
_SYMBOL = re.compile(r"[a-z]{1,4}\d{1,9}|int_oo|oo|true|false|True|False")
_NUMBER = re.compile(r"[0-9.e+-]{1,40}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,200}")
_DOTTED = re.compile(r"[A-Za-z0-9_.]{0,400}")
_PATH = re.compile(r"[A-Za-z0-9_.\[\]:/-]{0,400}")
_LEAVES = frozenset(
    {None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"}
    | {f"torch.fx.immutable_collections.immutable_{kind}" for kind in ("list", "dict")}
)
_RAW = re.compile(r"(weight|tensor|constant)_\d{1,9}")
_FOLDERS = ("data/weights/", "data/constants/")
_MEMBERS = re.compile(
    r"models/[^/]+\.json|data/(weights|constants)/[^/]+|data/sample_inputs/[^/]+\.pt|extra/.+|archive_format"
    r"|archive_version|byteorder|version|\.data/(version|serialization_id)"
    r"|serialized_(exported_program\.json|state_dict\.pt|constants\.pt|example_inputs\.pt)|extra_files/.+"
)


def wanted(name: str) -> bool:
    """Whether a member is read whole: all but the weights, and those too where a pickle may be."""
    return name.endswith((".json", ".pt")) or name.startswith(("extra/", "extra_files/"))


def audit_program(archive: TorchArchive, read_again: Callable[[str], bytes]) -> frozenset[str]:
    """What of a program's archive is not on the lists.

    Args:
        archive: Its members, with those that are `wanted`.
        read_again: The bytes of one more member.

    Raises:
        Untrusted: It has members that no program has, such as compiled code, or cannot be understood.
    """
    strange: set[str] = set()
    for name in archive.sizes:
        if not _MEMBERS.fullmatch(name):
            raise odd(f"holds {'compiled code' if 'aotinductor' in name else 'what no exported program has'}", name)
    for name, data in archive.contents.items():
        if name.startswith(("extra/", "extra_files/")):
            continue
        if name.endswith(".pt"):
            strange |= audit_tensors(data, name)
        elif name.startswith("models/") or name == "serialized_exported_program.json":
            strange |= set(_in_tree(_tree(data, name), name))
        else:
            strange |= _payload(_tree(data, name), name, archive, read_again)
    for name in archive.sizes.keys() - archive.contents.keys():
        if name.startswith(_FOLDERS) and not _RAW.fullmatch(name.rpartition("/")[2]):
            raise odd("holds an object of a class of its own", name)
    return frozenset(strange)


def _payload(tree: object, name: str, archive: TorchArchive, read_again: Callable[[str], bytes]) -> set[str]:
    """Of the list of weights: a member that is a pickle is audited as one."""
    strange: set[str] = set()
    config = tree.get("config") if isinstance(tree, dict) else None
    folder = name[: name.rindex("/") + 1]
    if not isinstance(config, dict) or folder not in _FOLDERS:
        raise odd("has a list of weights that is none", name)
    for entry in config.values():
        if not isinstance(entry, dict) or not _RAW.fullmatch(str(entry.get("path_name"))):
            raise odd("names a weight as none is named", name)
        member = folder + str(entry["path_name"])
        if member not in archive.sizes:
            raise odd("names a weight that it does not have", name)
        if entry.get("use_pickle") is not False:
            strange |= audit_tensors(read_again(member), member)
    return strange


def _in_tree(tree: object, where: str) -> Iterator[str]:
    """Whatever of a program's graph is not on the lists, however deep it stands."""
    waiting: list[tuple[str, object]] = [("", tree)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            if key == "metadata":  # for whoever debugs: text, of which nothing is made
                continue
            waiting += [(str(name), one) for name, one in value.items()]
        elif isinstance(value, list):
            waiting += [(key, one) for one in value]
        elif isinstance(value, str):
            yield from _in_text(key, value, where)


def _in_text(key: str, value: str, where: str) -> Iterator[str]:
    if key in ("target", "as_operator"):
        if not _OPERATOR.fullmatch(value) or _NEVER.match(value):
            yield value[:100]
    elif key in ("expr_str", "guards_code"):
        _require_arithmetic(value, where, guard=key == "guards_code")
    elif key in ("in_spec", "out_spec"):
        yield from _in_spec(value, where)
    elif key in ("class_fqn", "blob_name", "custom_obj_name"):
        yield f"an object of {value[:80]}"
    elif key in ("name", "as_name", "forward_arg_names"):
        _require(_DOTTED, value, where)
    elif key in ("parameter_name", "buffer_name", "tensor_constant_name", "fqn"):
        _require(_PATH, value, where)


def _in_spec(text: str, where: str) -> Iterator[str]:
    """How inputs and outputs are nested: lists and dictionaries by name, no classes."""
    waiting: list[object] = [_tree(text.encode(), where)]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            kind, context = one.get("type"), one.get("context")
            if kind not in _LEAVES:
                yield f"outputs of {str(kind)[:80]}"
            elif context is not None:
                names = _tree(context.encode(), where) if isinstance(context, str) else None
                if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
                    raise odd("nests its inputs in an unusual way", where)
                for name in names or ():
                    _require(_PATH, name, where)
            waiting += one.get("children_spec") or []


def _require_arithmetic(text: str, where: str, *, guard: bool = False) -> None:
    """Sizes are evaluated as Python: numbers, symbols, and what sizes are made of; guards may ask for them."""
    try:
        tree = ast.parse(text[: MAX_EXPRESSION + 1].strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise odd("has a size that is none", where) from error
    if len(text) > MAX_EXPRESSION or not all(_is_plain(node, guard=guard) for node in ast.walk(tree)):
        raise odd("has a size that is more than arithmetic", where)


def _is_plain(node: ast.AST, *, guard: bool) -> bool:
    if isinstance(node, ast.Call):
        named = isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS
        sized = guard and isinstance(node.func, ast.Attribute) and not (node.args or node.keywords)
        return named or sized
    if isinstance(node, ast.Name):
        return node.id in _FUNCTIONS or _SYMBOL.fullmatch(node.id) is not None or (guard and node.id == "L")
    if isinstance(node, ast.Attribute):
        return guard and node.attr in ("size", "storage_offset", "stride")
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _NAME.fullmatch(node.value) is not None or _NUMBER.fullmatch(node.value) is not None
    return isinstance(node, _ARITHMETIC) or (guard and isinstance(node, ast.Subscript))


def _require(pattern: re.Pattern[str], text: str, where: str) -> None:
    if not pattern.fullmatch(text):
        raise odd("has a name that is none", where)


def _tree(data: bytes, where: str) -> object:
    """JSON without a key that stands there twice."""

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError
        return found

    try:
        return json.loads(data, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise odd("has a part that is no JSON", where) from error
