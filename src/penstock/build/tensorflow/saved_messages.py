"""TensorFlow's messages of which a ``saved_model.pb`` is made, as far as its audit reads them, without TensorFlow.

    bytes -> `read_saved_model` -> message, none of whose parts holds a field that is not in this table

protobuf itself reads them, so that repeated and merged fields mean what they mean to TensorFlow; what the audit does
not look into (tensors, shapes, types) is of type ``Opaque`` and kept as it is. Numbers and names are those of
TensorFlow 2.21: ``tensorflow/core/{framework,protobuf}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, unknown_fields
from google.protobuf.message import DecodeError

from penstock.errors import Untrusted

Message = Any
"""Made at run time, so that no type checker can know its fields."""

_TABLE = """
SavedModel: saved_model_schema_version=1:int64 meta_graphs=2:*MetaGraphDef
MetaGraphDef: meta_info_def=1:MetaInfoDef graph_def=2:GraphDef saver_def=3:SaverDef collection_def=4:{CollectionDef
MetaGraphDef: signature_def=5:{SignatureDef asset_file_def=6:*AssetFileDef object_graph_def=7:SavedObjectGraph
MetaInfoDef: meta_graph_version=1:string stripped_op_list=2:Opaque any_info=3:Opaque tags=4:*string
MetaInfoDef: tensorflow_version=5:string tensorflow_git_version=6:string stripped_default_attrs=7:bool
MetaInfoDef: function_aliases=8:*Opaque
GraphDef: node=1:*NodeDef versions=4:Opaque version=3:int32 library=2:FunctionDefLibrary debug_info=5:Opaque
NodeDef: name=1:string op=2:string input=3:*string device=4:string attr=5:{AttrValue
NodeDef: experimental_debug_info=6:Opaque experimental_type=7:Opaque
AttrValue: s=2:bytes|value i=3:int64|value f=4:float|value b=5:bool|value type=6:int32|value shape=7:Opaque|value
AttrValue: tensor=8:Opaque|value list=1:ListValue|value func=10:NameAttrList|value placeholder=9:string|value
ListValue: s=2:*bytes i=3:*int64 f=4:*float b=5:*bool type=6:*int32 shape=7:*Opaque tensor=8:*Opaque
ListValue: func=9:*NameAttrList
NameAttrList: name=1:string attr=2:{AttrValue
FunctionDefLibrary: function=1:*FunctionDef gradient=2:*GradientDef registered_gradients=3:*RegisteredGradient
GradientDef: function_name=1:string gradient_func=2:string
RegisteredGradient: gradient_func=1:string registered_op_type=2:string
FunctionDef: signature=1:OpDef attr=5:{AttrValue arg_attr=7:*Opaque resource_arg_unique_id=8:*Opaque node_def=3:*NodeDef
FunctionDef: ret=4:{string control_ret=6:{string
OpDef: name=1:string input_arg=2:*Opaque output_arg=3:*Opaque control_output=20:*string attr=4:*Opaque
OpDef: deprecation=8:Opaque summary=5:string description=6:string is_commutative=18:bool is_aggregate=16:bool
OpDef: is_stateful=17:bool allows_uninitialized_input=19:bool is_distributed_communication=21:bool
SignatureDef: inputs=1:{TensorInfo outputs=2:{TensorInfo method_name=3:string defaults=4:*Opaque
TensorInfo: name=1:string|encoding coo_sparse=4:Opaque|encoding composite_tensor=5:Opaque|encoding dtype=2:int32
TensorInfo: tensor_shape=3:Opaque
AssetFileDef: tensor_info=1:TensorInfo filename=2:string
SaverDef: filename_tensor_name=1:string save_tensor_name=2:string restore_op_name=3:string max_to_keep=4:int32
SaverDef: sharded=5:bool keep_checkpoint_every_n_hours=6:float version=7:int32
CollectionDef: node_list=1:NodeList|kind bytes_list=2:Opaque|kind int64_list=3:Opaque|kind float_list=4:Opaque|kind
CollectionDef: any_list=5:Opaque|kind
NodeList: value=1:*string
SavedObjectGraph: nodes=1:*SavedObject concrete_functions=2:{Opaque
SavedObject: children=1:*Opaque dependencies=15:*Opaque slot_variables=3:*Opaque user_object=4:Opaque|kind
SavedObject: asset=5:Opaque|kind function=6:Opaque|kind variable=7:Opaque|kind bare_concrete_function=8:Opaque|kind
SavedObject: constant=9:Opaque|kind resource=10:Opaque|kind captured_tensor=12:Opaque|kind
SavedObject: saveable_objects=11:*Opaque registered_name=13:string serialized_user_proto=14:Opaque
SavedObject: registered_saver=16:string
BundleHeader: num_shards=1:int32 endianness=2:int32 version=3:Opaque
BundleEntry: dtype=1:int32 shape=2:Shape shard_id=3:int32 offset=4:int64 size=5:int64 crc32c=6:fixed32 slices=7:*Opaque
Shape: dim=2:*Dim unknown_rank=3:bool
Dim: size=1:int64 name=2:string
Opaque:
"""
"""``name=number:type``: ``*`` is repeated, ``{`` a map from text, ``|group`` one of a group."""

_FIELD = re.compile(r"(\w+)=(\d+):([*{]?)(\w+)(?:\|(\w+))?")
_PACKAGE = "penstock.savedmodel"


def _compiled() -> descriptor_pool.DescriptorPool:
    """The table as descriptors, in a pool of their own: TensorFlow's own messages may be loaded beside them."""
    file = descriptor_pb2.FileDescriptorProto(name="savedmodel.proto", package=_PACKAGE, syntax="proto3")
    messages: dict[str, descriptor_pb2.DescriptorProto] = {}
    for line in _TABLE.strip().splitlines():
        name, _, fields = line.partition(":")
        if name not in messages:
            messages[name] = file.message_type.add(name=name)
        for field in _FIELD.finditer(fields):
            _declare(messages[name], name, field)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def _declare(message: descriptor_pb2.DescriptorProto, name: str, field: re.Match[str]) -> None:
    """One field of a message."""
    title, number, many, kind, group = field.groups()
    made = message.field.add(name=title, number=int(number))
    made.label = made.LABEL_REPEATED if many else made.LABEL_OPTIONAL
    if many == "{":
        entry = message.nested_type.add(name=f"{title.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        key, value = entry.field.add(name="key", number=1), entry.field.add(name="value", number=2)
        key.label = value.label = key.LABEL_OPTIONAL
        _type(key, "string")
        _type(value, kind)
        made.type, made.type_name = made.TYPE_MESSAGE, f".{_PACKAGE}.{name}.{entry.name}"
        return
    _type(made, kind)
    if group:
        groups = [one.name for one in message.oneof_decl]
        if group not in groups:
            message.oneof_decl.add(name=group)
        made.oneof_index = [one.name for one in message.oneof_decl].index(group)


def _type(field: descriptor_pb2.FieldDescriptorProto, kind: str) -> None:
    """A scalar or another message."""
    if kind[0].isupper():
        field.type, field.type_name = field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    else:
        field.type = getattr(field, f"TYPE_{kind.upper()}")


_POOL = _compiled()


def read_message(kind: str, data: bytes, where: str) -> Message:
    """A message of the table, whole and with nothing in it that the table lacks.

    Raises:
        Untrusted: It cannot be read, or holds fields that nobody here knows.
    """
    try:
        message = message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{kind}")).FromString(data)
    except DecodeError as error:
        raise Untrusted("the file cannot be read to its end", "export the model again", where=where) from error
    for part in _parts(message):
        if part.DESCRIPTOR.name != "Opaque" and len(unknown_fields.UnknownFieldSet(part)):
            raise Untrusted(
                "the file has parts that TensorFlow 2.21 does not write, so nobody can say what they do",
                "export the model with a TensorFlow that is known here",
                where=where,
            )
    return message


def read_saved_model(data: bytes, where: str) -> Message:
    """A ``SavedModel``; errors as `read_message`."""
    return read_message("SavedModel", data, where)


def _parts(message: Message) -> Iterator[Message]:
    """A message and all messages in it."""
    waiting = [message]
    while waiting:
        part = waiting.pop()
        yield part
        for field, value in part.ListFields():
            if field.message_type is None:
                continue
            if field.message_type.GetOptions().map_entry:
                inner = field.message_type.fields_by_name["value"].message_type
                waiting += [] if inner is None else value.values()
            elif field.is_repeated:
                waiting += value
            else:
                waiting.append(value)
