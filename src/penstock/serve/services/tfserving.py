"""Stage 4, serve: TensorFlow Serving over gRPC: predictions, classes, regressions, metadata, status.

Comes in: a message of ``PredictionService`` or ``ModelService``, whose ModelSpec names the endpoint. Goes out: the
message that TensorFlow Serving answers. A version label is the name of a variant. What the server shall serve is for
releases to say: a new configuration is refused. Source: ``tensorflow_serving/apis``.
"""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.json_format import ParseDict
from google.protobuf.message import DecodeError

from penstock.errors import InvalidInput, PenstockError
from penstock.serve.bodyforms import SIGNATURE_NAME
from penstock.serve.calls import Call, Reply
from penstock.serve.cards import LABEL, Card, Catalogue
from penstock.serve.examples import Classes, Example, Numbers, classes_of, in_context, numbers_of, read_examples
from penstock.serve.predictmessage import check_signature, read_predict, write_predict
from penstock.serve.protocol import STRICT, Manner, Operation, Prediction, Request, Verb
from penstock.serve.protos.messages import Message, message, requests
from penstock.serve.protowire import BYTES, fields, malformed
from penstock.serve.rowvalues import Value
from penstock.serve.service import CONTENT_TYPE, METHOD, Rpc, Service, timeout_s
from penstock.serve.tfcards import newest, signature_defs, version_statuses
from penstock.tensors import Arrays, Signature

PREDICTION, MODEL = "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"
_SERVING = "tensorflow.serving."
_VERBS: dict[str, Verb] = {
    f"/{PREDICTION}/Predict": "predict",
    f"/{PREDICTION}/Classify": "predict",
    f"/{PREDICTION}/Regress": "predict",
    f"/{PREDICTION}/MultiInference": "predict",
    f"/{PREDICTION}/GetModelMetadata": "model",
    f"/{MODEL}/GetModelStatus": "model_ready",
    f"/{MODEL}/HandleReloadConfigRequest": "unspoken",
}
_METHODS = {f"tensorflow/serving/{name}": name for name in ("classify", "regress")}
_SIGNATURE_DEFS = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
MOST_TASKS = 16
"""Of one request: each is answered with all of its examples."""
_SPEC = 1
_Spec = message(f"{_SERVING}ModelSpec")
_SignatureDefMap = message(f"{_SERVING}SignatureDefMap")
_KINDS = {**requests(PREDICTION), **requests(MODEL)}
_ANSWERS = {
    name: message(f"{_SERVING}{name}Response")
    for name in ("Classification", "Regression", "MultiInference", "GetModelMetadata", "GetModelStatus")
}
_Plan = Classes | Numbers


class TfServingService(Service):
    """``tensorflow.serving.PredictionService`` and ``ModelService``."""

    def __init__(self, manner: Manner = STRICT) -> None:
        super().__init__(manner)
        self.rpcs = {path: _rpc(path) for path in _VERBS}

    def match(self, method: str, path: str) -> Operation | None:
        """What one of our own paths asks for; one without an endpoint cannot be read, and `describe` says why."""
        if method != METHOD:
            return None
        parts = path.split("\n")
        verb = _VERBS.get(parts[0])
        if verb is None or len(parts) not in (1, 3):
            return None
        return Operation(verb, parts[1], parts[2]) if len(parts) == 3 else Operation("unspoken")

    def decode(self, call: Call, signature: Signature) -> Request:
        """Tensors, or examples with the plan of their results."""
        name = _method(call)
        timeout = timeout_s(call.headers[b"grpc-timeout"]) if b"grpc-timeout" in call.headers else 0.0
        if name == "Predict":
            arrays, wanted = read_predict(call.body, signature)
            return Request(arrays, timeout_s=timeout, wanted=wanted)
        asked = _read(_KINDS[name], call.body)
        if name == "MultiInference":
            plans: object = _plans(asked.tasks, signature)
        else:
            check_signature(asked.model_spec, "model_spec")
            plans = classes_of(signature, "") if name == "Classify" else numbers_of(signature, "")
        return Request(_read_input(asked.input, signature), timeout_s=timeout, form=plans)

    def encode(self, request: Request, prediction: Prediction) -> Reply:
        """The response of the method that was called."""
        spec = _Spec(name=prediction.endpoint, signature_name=SIGNATURE_NAME)
        spec.version.value = int(prediction.version)
        plan = request.form
        if plan is None:
            return Reply(0, write_predict(request, prediction, spec.SerializeToString()), CONTENT_TYPE)
        if isinstance(plan, Classes | Numbers):
            answer = _ANSWERS["Classification" if isinstance(plan, Classes) else "Regression"](model_spec=spec)
            _write(answer.result, plan, prediction)
        else:
            answer = _ANSWERS["MultiInference"]()
            for one in plan if isinstance(plan, tuple) else ():
                result = answer.results.add(model_spec=spec)
                kind = result.classification_result if isinstance(one, Classes) else result.regression_result
                _write(kind, one, prediction)
        return Reply(0, answer.SerializeToString(), CONTENT_TYPE)

    def describe(self, operation: Operation, catalogue: Catalogue, call: Call) -> Reply:
        """Signature or status of an endpoint."""
        name = _method(call)
        if operation.verb == "unspoken":
            raise _unreadable(name, call.body)
        card = catalogue.card(operation.endpoint, operation.version)
        if operation.verb == "model":
            return _metadata(card, operation.version, _read(_KINDS[name], call.body))
        statuses = {"model_version_status": version_statuses(card, operation.version)}
        return Reply(0, ParseDict(statuses, _ANSWERS["GetModelStatus"]()).SerializeToString(), CONTENT_TYPE)


def _rpc(path: str) -> Rpc:
    return Rpc(lambda body: _path(path, body))


def _path(path: str, body: bytes) -> str:
    """A method with endpoint and version; alone where they cannot be read."""
    try:
        spec = _spec_of(path, body)
    except InvalidInput:
        return path
    if not spec.name or "\n" in spec.name + spec.version_label:
        return path
    chosen = spec.WhichOneof("version_choice")
    version = LABEL + spec.version_label if chosen == "version_label" else str(spec.version.value) if chosen else ""
    return f"{path}\n{spec.name}\n{version}"


def _spec_of(path: str, body: bytes) -> Message:
    """The ModelSpec of a request, the first task's where it has several, without looking at the rest of it."""
    view = memoryview(body)
    if path.endswith("/MultiInference"):
        tasks = [one.data for one in fields(view) if one.number == 1 and one.kind == BYTES]
        view = tasks[0] if tasks else view[:0]
    parts = [one.data for one in fields(view) if one.number == _SPEC and one.kind == BYTES]
    return _read(_Spec, b"".join(parts))


def _method(call: Call) -> str:
    return call.path.partition("\n")[0].rpartition("/")[2]


def _read(kind: Message, body: bytes) -> Message:
    try:
        return kind.FromString(body)
    except DecodeError:
        raise malformed() from None


def _unreadable(name: str, body: bytes) -> PenstockError:
    """Why a request has no endpoint."""
    if name == "HandleReloadConfigRequest":
        return PenstockError(
            "what is served is not told over this interface", "release a version", code="serve.unsupported"
        )
    _read(_KINDS[name], body)
    return InvalidInput("the model is not named", "send its name", where="model_spec.name")


def _plans(tasks: Sequence[Message], signature: Signature) -> tuple[_Plan, ...]:
    """What each task wants of the one run that answers them all."""
    if len(tasks) > MOST_TASKS:
        raise InvalidInput("there are too many tasks", f"send at most {MOST_TASKS}", where="tasks")
    plans: list[_Plan] = []
    first = tasks[0].model_spec
    for position, task in enumerate(tasks):
        where = f"tasks[{position}]"
        check_signature(task.model_spec, f"{where}.model_spec")
        if (task.model_spec.name, task.model_spec.version, task.model_spec.version_label) != (
            first.name,
            first.version,
            first.version_label,
        ):
            raise InvalidInput("the tasks name several models", "ask each in its own call", where=where)
        method = _METHODS.get(task.method_name)
        if method is None:
            known = ", ".join(_METHODS)
            raise InvalidInput("there is no such method", f"there are {known}", where=f"{where}.method_name")
        plans.append(classes_of(signature, where) if method == "classify" else numbers_of(signature, where))
    return tuple(plans)


def _read_input(given: Message, signature: Signature) -> Arrays:
    """Examples, each with what the context says of all."""
    kind = given.WhichOneof("kind")
    if kind is None:
        raise InvalidInput("there are no examples", "send example_list", where="input")
    where = f"input.{kind}.examples"
    part = getattr(given, kind)
    context = _features(part.context, signature, "input.context") if kind == "example_list_with_context" else {}
    examples = (_features(one, signature, f"{where}[{position}]") for position, one in enumerate(part.examples))
    return read_examples(in_context(context, examples, len(part.examples), where), signature, where)


def _features(example: Message, signature: Signature, where: str) -> Example:
    """An example's features as lists of values; one without any is missing."""
    booleans = {spec.name for spec in signature.inputs if spec.datatype == "BOOL"}
    found: dict[str, Sequence[Value]] = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        if kind is None:
            continue
        values = list(getattr(feature, kind).value)
        if kind == "bytes_list":
            try:
                values = [text.decode() for text in values]
            except UnicodeDecodeError:
                raise InvalidInput("a text is not UTF-8", "send UTF-8", where=where) from None
        elif name in booleans and set(values) <= {0, 1}:
            # Examples have no booleans of their own.
            values = [bool(value) for value in values]
        found[name] = values
    return found


def _write(result: Message, plan: _Plan, prediction: Prediction) -> None:
    """A ClassificationResult or a RegressionResult."""
    if isinstance(plan, Classes):
        for scored in plan.results(prediction.outputs, prediction.classes):
            classes = result.classifications.add().classes
            for one in scored:
                classes.add(label=one.label, score=one.score)
        return
    for value in plan.results(prediction.outputs):
        result.regressions.add(value=value)


def _metadata(card: Card, version: str, asked: Message) -> Reply:
    """The signature of an endpoint as a GetModelMetadataResponse."""
    if list(asked.metadata_field) != ["signature_def"]:
        raise InvalidInput("there is no such metadata", "ask for signature_def", where="metadata_field")
    answer = _ANSWERS["GetModelMetadata"]()
    answer.model_spec.name = card.name
    answer.model_spec.version.value = int(newest(card, version) or 0)
    packed = answer.metadata["signature_def"]
    packed.type_url = _SIGNATURE_DEFS
    packed.value = ParseDict(signature_defs(card), _SignatureDefMap()).SerializeToString()
    return Reply(0, answer.SerializeToString(), CONTENT_TYPE)
