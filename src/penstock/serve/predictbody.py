"""Stage 4, serve: a prediction's body as KServe V1 and TensorFlow Serving write it, and its answer in the same form.

    {"instances": [row, ...]}              {"predictions": [row, ...]}
    {"inputs": {name: tensor, ...}}        {"outputs": {name: tensor, ...}}, or the tensor alone where there is one
    {"inputs": [row, ...]}                 both: KServe reads it as instances, TensorFlow Serving as one tensor

Either may come in a CloudEvent, and is then answered in one. Text under a name that ends in ``_bytes`` leaves as
base64, as TensorFlow Serving writes it. Source: TensorFlow Serving's ``api_rest``; KServe's V1.
"""

from __future__ import annotations

from base64 import b64encode
from typing import NamedTuple

import msgspec
import numpy as np

from penstock.serve.bodyforms import Form, read_body
from penstock.serve.calls import Call, Reply
from penstock.serve.cloudevents import EventBody, answered, read_event
from penstock.serve.instances import Instances
from penstock.serve.protocol import Explanation, Manner, Prediction, Request
from penstock.serve.rowvalues import B64
from penstock.serve.tensordata import with_tokens
from penstock.tensors import Array, Signature

_encode = msgspec.json.Encoder().encode


class BodyForm(NamedTuple):
    """What an answer needs to know of its request.

    Attributes:
        form: Of the body.
        event: That it came in; None where it came alone.
    """

    form: Form = "rows"
    event: EventBody | None = None


class PredictBody:
    """Reads bodies and writes answers.

    Args:
        manner: What an event's answer says of itself may stand in the environment.
    """

    def __init__(self, manner: Manner) -> None:
        self._instances = Instances()
        self._environment = manner.environment

    def decode(self, call: Call, signature: Signature) -> Request:
        """A body of any of the forms.

        Raises:
            InvalidInput: With the value's path.
        """
        event = read_event(call)
        body = event.data if event else call.body
        arrays = self._instances.typed(body, signature)
        if arrays is not None:
            return Request(arrays, form=BodyForm("rows", event))
        arrays, form = read_body(body, signature)
        return Request(arrays, form=BodyForm(form, event))

    def encode(self, request: Request, prediction: Prediction) -> Reply:
        """One entry a row, one a column, or both."""
        asked = request.form if isinstance(request.form, BodyForm) else BodyForm()
        columns = {name: _listed(name, array) for name, array in prediction.outputs.items()}
        body: dict[str, object] = {}
        if asked.form != "columns":
            body["predictions"] = _rows(columns)
        if asked.form != "rows":
            body["outputs"] = columns if len(columns) != 1 else next(iter(columns.values()))
        body["prediction_id"] = prediction.id
        body["model_version"] = prediction.version
        return self.enveloped(request, Reply(200, written(body, nan_tokens=prediction.nan_tokens)), prediction)

    def enveloped(self, request: Request, reply: Reply, answer: Prediction | Explanation) -> Reply:
        """The reply, as an event where the request was one."""
        event = request.form.event if isinstance(request.form, BodyForm) else None
        return answered(event, reply, answer, self._environment) if event else reply


def written(body: object, *, nan_tokens: bool) -> bytes:
    """JSON, with what it has no numbers for as null or as tokens."""
    if nan_tokens:
        return with_tokens(body)
    return _encode(body)


def _listed(name: str, array: Array) -> list[object]:
    """An output as nested lists."""
    if array.dtype.kind == "O" and name.endswith("_bytes"):
        texts = np.empty(array.size, object)
        texts[:] = [{B64: b64encode(str(text).encode()).decode()} for text in array.ravel().tolist()]
        array = texts.reshape(array.shape)
    listed: list[object] = array.tolist()
    return listed


def _rows(columns: dict[str, list[object]]) -> list[object]:
    """An entry a row: the value itself where there is one output."""
    names = list(columns)
    if len(names) == 1:
        return columns[names[0]]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values())]  # noqa: B905 (checked by the lane)
