"""Stage 4, serve: a prediction over TensorFlow Serving's gRPC, from its message, and the answer.

    PredictRequest --field by field, tensors where they lie--> arrays and wanted outputs
    Prediction --tensor by tensor, joined once--> PredictResponse

Source: ``tensorflow_serving/apis/predict.proto``.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError

from penstock.errors import InvalidInput
from penstock.serve.bodyforms import SIGNATURE_NAME, no_such_signature
from penstock.serve.protocol import Prediction, Request
from penstock.serve.protos.messages import Message, message
from penstock.serve.protowire import BYTES, Part, field, fields, malformed
from penstock.serve.tensorproto import read_tensor, tensor_parts
from penstock.tensors import Arrays, Signature

_SPEC, _INPUTS, _FILTER = 1, 2, 3
_KEY, _VALUE = 1, 2
_Spec = message("tensorflow.serving.ModelSpec")


def check_signature(spec: Message, where: str) -> None:
    """Refuse a ModelSpec that means another signature than the model's one.

    Raises:
        InvalidInput: It does.
    """
    if spec.signature_name not in ("", SIGNATURE_NAME):
        raise no_such_signature(f"{where}.signature_name")


def read_predict(body: bytes, signature: Signature) -> tuple[Arrays, tuple[str, ...]]:
    """A PredictRequest's tensors where they lie, and the outputs that are wanted.

    Raises:
        InvalidInput: With the field's path and never its value.
    """
    arrays: Arrays = {}
    wanted: list[str] = []
    spec: list[Part] = []
    for one in fields(memoryview(body)):
        if one.kind != BYTES:
            continue
        if one.number == _SPEC:
            spec.append(one.data)
        elif one.number == _INPUTS:
            name, tensor = _entry(one.data)
            if name in arrays:
                raise InvalidInput("an input is given twice", "give each once", where=f"inputs[{len(arrays)}]")
            if name not in signature.input_names():
                known = ", ".join(signature.input_names())
                raise InvalidInput(
                    "an input has a name that the model does not know",
                    f"the model's inputs are {known}",
                    where=f"inputs[{len(arrays)}]",
                )
            arrays[name] = read_tensor(tensor, f"inputs.{name}")
        elif one.number == _FILTER:
            wanted.append(_text(one.data))
    check_signature(_spec(b"".join(spec)), "model_spec")
    outputs = [output.name for output in signature.outputs]
    for position, name in enumerate(wanted):
        if name not in outputs:
            raise InvalidInput(
                "the model has no such output",
                f"its outputs are {', '.join(outputs)}",
                where=f"output_filter[{position}]",
            )
    return arrays, tuple(wanted)


def _entry(data: memoryview) -> tuple[str, memoryview]:
    """An entry of a map of tensors."""
    name, tensor = "", data[:0]
    for one in fields(data):
        if one.number == _KEY:
            name = _text(one.data)
        elif one.number == _VALUE:
            tensor = one.data
    return name, tensor


def _text(data: memoryview) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        raise malformed() from None


def write_predict(request: Request, prediction: Prediction, spec: bytes) -> bytes:
    """A PredictResponse, its tensors copied once.

    Args:
        request: Says which outputs are wanted.
        prediction: What the model answered.
        spec: The ModelSpec of who answered.
    """
    parts: list[Part] = []
    for name, array in prediction.outputs.items():
        if not request.wanted or name in request.wanted:
            entry = [*field(_KEY, [name.encode()]), *field(_VALUE, tensor_parts(array))]
            parts += field(1, entry)
    return b"".join([*parts, *field(2, [spec])])


def _spec(data: bytes) -> Message:
    try:
        return _Spec.FromString(data)
    except DecodeError:
        raise malformed() from None
