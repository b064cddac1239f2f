"""Asks with TensorFlow Serving's published stubs, in their own environment: ``tensorflow_client.py TARGET FILE``.

Prints one JSON object: what each method answered, the status and the text of each bad request, and where our compiled
descriptors, in that file, differ from the published ones.
"""

import json
import os
import sys
from collections.abc import Callable

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool
from tensorflow.core.example import example_pb2
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

X = np.array([[1, 2, 3, 4], [0, 0, 0, -1]], np.float32)
FLIGHTS = {
    "distance": np.array([[100.0], [900.0]]),
    "carrier": np.array([["UA"], ["B6"]], object),
    "delay": np.array([[0.5], [np.nan]]),
}


SERVICES = {
    **prediction_service_pb2.DESCRIPTOR.services_by_name,
    **model_service_pb2.DESCRIPTOR.services_by_name,
}
# Theirs is in a package of its own.
ENUMS = {"tensorflow.serving.StatusProto.Code": "tensorflow.error.Code"}


def predict(tensors: dict[str, object], name: str = "linear", **spec: object) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    for key, value in spec.items():
        if key == "version":
            request.model_spec.version.value = value
        else:
            setattr(request.model_spec, key, value)
    for key, tensor in tensors.items():
        proto = tensor if isinstance(tensor, tensor_pb2.TensorProto) else tf.make_tensor_proto(tensor)
        request.inputs[key].CopyFrom(proto)
    return request


def values(array: np.ndarray, dtype: int, field: str, given: list[object] | None = None) -> tensor_pb2.TensorProto:
    """A tensor by one of the *_val."""
    tensor = tensor_pb2.TensorProto(dtype=dtype)
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    getattr(tensor, field).extend(array.ravel().tolist() if given is None else given)
    return tensor


def example(**features: object) -> example_pb2.Example:
    found = example_pb2.Example()
    for name, value in features.items():
        feature = found.features.feature[name]
        if isinstance(value, str | bytes):
            feature.bytes_list.value.append(value.encode() if isinstance(value, str) else value)
        elif isinstance(value, int):
            feature.int64_list.value.append(value)
        else:
            feature.float_list.value.extend(value if isinstance(value, list) else [value])
    return found


def examples(kind: type, name: str, *given: object, **spec: object) -> object:
    request = kind()
    request.model_spec.name = name
    for key, value in spec.items():
        setattr(request.model_spec, key, value)
    request.input.example_list.examples.extend(given)
    return request


def outputs(answer: predict_pb2.PredictResponse) -> dict[str, object]:
    arrays = {name: tf.make_ndarray(tensor) for name, tensor in answer.outputs.items()}
    return {
        name: [one.decode() for one in array.ravel()] if array.dtype == object else array.tolist()
        for name, array in arrays.items()
    }


def tasks(*named: tuple[str, str]) -> inference_pb2.MultiInferenceRequest:
    request = inference_pb2.MultiInferenceRequest()
    for name, method in named:
        task = request.tasks.add(method_name=method)
        task.model_spec.name = name
    request.input.example_list.examples.append(example(X=[1.0, 2.0, 3.0, 4.0]))
    return request


def flights(**changes: object) -> predict_pb2.PredictRequest:
    tensors = {name: changes.get(name, value) for name, value in FLIGHTS.items()}
    return predict({name: tensor for name, tensor in tensors.items() if tensor is not None}, "flights")


def good(stub: object, models: object) -> dict[str, object]:
    """What each method answers."""
    told: dict[str, object] = {}
    answer = stub.Predict(predict({"X": X}))
    told["content"] = outputs(answer)
    told["float_val"] = list(answer.outputs["probabilities"].float_val)
    told["spec"] = [answer.model_spec.name, answer.model_spec.version.value, answer.model_spec.signature_name]
    told["values"] = outputs(stub.Predict(predict({"X": values(X, types_pb2.DT_FLOAT, "float_val")})))
    told["last repeated"] = outputs(
        stub.Predict(predict({"X": values(np.zeros((1, 4)), types_pb2.DT_FLOAT, "float_val", [1.0, 2.0])}))
    )
    told["integers"] = outputs(stub.Predict(predict({"X": X.astype(np.int8)})))
    told["flights"] = outputs(stub.Predict(flights()))
    told["version"] = outputs(stub.Predict(predict({"X": X}, version=1)))
    told["label"] = outputs(stub.Predict(predict({"X": X}, version_label="stable", signature_name="serving_default")))
    filtered = predict({"X": X})
    filtered.output_filter.append("label")
    told["filtered"] = outputs(stub.Predict(filtered))
    large = np.tile(X, (10_000, 1))
    told["large"] = float(np.sum(outputs(stub.Predict(predict({"X": large})))["probabilities"]))
    given = example(distance=100.0, carrier="UA", delay=0.5), example(distance=900, carrier="B6")
    found = stub.Classify(examples(classification_pb2.ClassificationRequest, "flights", *given))
    told["classes"] = [[[one.label, one.score] for one in row.classes] for row in found.result.classifications]
    context = classification_pb2.ClassificationRequest()
    context.model_spec.name = "flights"
    context.input.example_list_with_context.context.CopyFrom(example(carrier="UA", delay=0.5))
    context.input.example_list_with_context.examples.append(example(distance=100.0))
    found = stub.Classify(context)
    told["context"] = [[[one.label, one.score] for one in row.classes] for row in found.result.classifications]
    row = example(X=[1.0, 2.0, 3.0, 4.0])
    found = stub.Regress(examples(regression_pb2.RegressionRequest, "sum", row))
    told["regressions"] = [one.value for one in found.result.regressions]
    both = stub.MultiInference(tasks(("linear", "tensorflow/serving/classify")))
    told["tasks"] = [
        [one.label for one in row.classes] for row in both.results[0].classification_result.classifications
    ]
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "flights"
    said = stub.GetModelMetadata(request)
    defs = get_model_metadata_pb2.SignatureDefMap()
    assert said.metadata["signature_def"].Unpack(defs)
    one = defs.signature_def["serving_default"]
    told["metadata"] = {
        name: [types_pb2.DataType.Name(info.dtype), [dim.size for dim in info.tensor_shape.dim]]
        for name, info in {**one.inputs, **one.outputs}.items()
    }
    told["method"] = one.method_name
    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = "linear"
    told["status"] = [
        [one.version, get_model_status_pb2.ModelVersionStatus.State.Name(one.state), one.status.error_code]
        for one in models.GetModelStatus(status).model_version_status
    ]
    return told


def bad(stub: object, models: object) -> dict[str, tuple[Callable[[object], object], object]]:
    """Requests that are refused: by name, the method and the request."""
    classify, regress = classification_pb2.ClassificationRequest, regression_pb2.RegressionRequest
    unknown_shape = tf.make_tensor_proto(X)
    unknown_shape.tensor_shape.unknown_rank = True
    negative = tf.make_tensor_proto(X)
    negative.tensor_shape.dim[0].size = -1
    short = tf.make_tensor_proto(X)
    short.tensor_content = short.tensor_content[:-1]
    huge = values(np.zeros((1, 1)), types_pb2.DT_FLOAT, "float_val", [1.0])
    huge.tensor_shape.dim[0].size = huge.tensor_shape.dim[1].size = 1 << 40
    filtered = predict({"X": X})
    filtered.output_filter.append("nothing")
    nothing = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT)
    nothing.tensor_shape.CopyFrom(tf.make_tensor_proto(X).tensor_shape)
    metadata = get_model_metadata_pb2.GetModelMetadataRequest
    status = get_model_status_pb2.GetModelStatusRequest
    spec = {"model_spec": {"name": "linear"}}
    unversioned = status(**spec)
    unversioned.model_spec.version.value = 9
    return {
        "no model": (stub.Predict, predict({"X": X}, "")),
        "unknown model": (stub.Predict, predict({"X": X}, "nothing")),
        "unknown version": (stub.Predict, predict({"X": X}, version=9)),
        "negative version": (stub.Predict, predict({"X": X}, version=-1)),
        "unknown label": (stub.Predict, predict({"X": X}, version_label="canary")),
        "unknown signature": (stub.Predict, predict({"X": X}, signature_name="other")),
        "no inputs": (stub.Predict, predict({})),
        "unknown input": (stub.Predict, predict({"X": X, "Y": X})),
        "input missing": (stub.Predict, flights(delay=None)),
        "another width": (stub.Predict, predict({"X": X[:, :3]})),
        "too deep": (stub.Predict, predict({"X": X[None]})),
        "a scalar": (stub.Predict, predict({"X": np.float32(1)})),
        "no rows": (stub.Predict, predict({"X": X[:0]})),
        "rows that differ": (stub.Predict, flights(delay=np.array([[0.5]]))),
        "another dtype": (stub.Predict, predict({"X": X.astype(np.float64)})),
        "text for a number": (stub.Predict, predict({"X": np.array([["a"] * 4], object)})),
        "complex numbers": (stub.Predict, predict({"X": X.astype(np.complex64)})),
        "no dtype": (stub.Predict, predict({"X": tensor_pb2.TensorProto(float_val=[1.0])})),
        "text that is not UTF-8": (stub.Predict, flights(carrier=np.array([[b"\xff"], [b"UA"]], object))),
        "NaN where each is wanted": (stub.Predict, predict({"X": X * np.nan})),
        "unknown rank": (stub.Predict, predict({"X": unknown_shape})),
        "negative size": (stub.Predict, predict({"X": negative})),
        "half an element": (stub.Predict, predict({"X": short})),
        "too many values": (stub.Predict, predict({"X": values(X[:1], 1, "float_val", [1.0] * 5)})),
        "no values": (stub.Predict, predict({"X": nothing})),
        "values of another dtype": (stub.Predict, predict({"X": values(X, types_pb2.DT_FLOAT, "double_val")})),
        "an integer out of range": (stub.Predict, predict({"X": values(X, types_pb2.DT_INT8, "int_val", [300] * 8)})),
        "larger than any memory": (stub.Predict, predict({"X": huge})),
        "unknown output": (stub.Predict, filtered),
        "no examples": (stub.Classify, examples(classify, "linear")),
        "no input": (stub.Classify, classify(**spec)),
        "unknown feature": (stub.Classify, examples(classify, "linear", example(X=[1.0] * 4, Y=1.0))),
        "feature missing": (stub.Classify, examples(classify, "flights", example(distance=1.0))),
        "feature too short": (stub.Classify, examples(classify, "linear", example(X=[1.0]))),
        "text in a number": (stub.Classify, examples(classify, "flights", example(distance="far", carrier="UA"))),
        "bytes that are no text": (stub.Classify, examples(classify, "flights", example(distance=1, carrier=b"\xff"))),
        "a classifier regressed": (stub.Regress, examples(regress, "linear", example(X=[1.0] * 4))),
        "a regression classified": (stub.Classify, examples(classify, "sum", example(X=[1.0] * 4))),
        "no tasks": (stub.MultiInference, tasks()),
        "an unknown task": (stub.MultiInference, tasks(("linear", "tensorflow/serving/guess"))),
        "tasks of two models": (
            stub.MultiInference,
            tasks(("linear", "tensorflow/serving/classify"), ("sum", "tensorflow/serving/regress")),
        ),
        "metadata of nothing": (stub.GetModelMetadata, metadata(**spec)),
        "other metadata": (stub.GetModelMetadata, metadata(metadata_field=["x"], **spec)),
        "metadata of an unknown model": (stub.GetModelMetadata, metadata(model_spec={"name": "nothing"})),
        "status of an unknown model": (models.GetModelStatus, status(model_spec={"name": "nothing"})),
        "status of an unknown version": (models.GetModelStatus, unversioned),
        "status of no model": (models.GetModelStatus, status()),
        "another configuration": (models.HandleReloadConfigRequest, model_management_pb2.ReloadConfigRequest()),
    }


def differences(path: str) -> list[str]:
    """Fields and values of our messages that the published ones do not have, or have in another way."""
    with open(path, "rb") as file:
        files = descriptor_pb2.FileDescriptorSet.FromString(file.read()).file
    ours, theirs = descriptor_pool.DescriptorPool(), descriptor_pool.Default()
    found: list[str] = []
    compared = 0
    for one in files:
        ours.AddSerializedFile(one.SerializeToString())
        if not one.package.startswith("tensorflow"):
            continue
        for message in one.message_type:
            mine = ours.FindMessageTypeByName(f"{one.package}.{message.name}")
            published = theirs.FindMessageTypeByName(mine.full_name)
            for field in mine.fields:
                compared += 1
                other = published.fields_by_number.get(field.number)
                if other is None or (other.name, other.type, other.is_repeated) != (
                    field.name,
                    field.type,
                    field.is_repeated,
                ):
                    found.append(f"{mine.full_name}.{field.name}")
            for kind in mine.enum_types:
                values = {value.name: value.number for value in kind.values}
                name = f"{mine.full_name}.{kind.name}"
                wanted = theirs.FindEnumTypeByName(ENUMS.get(name, name)).values_by_name
                found += [f"{name}.{key}" for key, number in values.items() if wanted[key].number != number]
        for kind in one.enum_type:
            wanted = theirs.FindEnumTypeByName(f"{one.package}.{kind.name}").values_by_name
            found += [value.name for value in kind.value if wanted[value.name].number != value.number]
        for service in one.service:
            published = SERVICES[service.name]
            same = [(m.name, m.input_type.strip("."), m.output_type.strip(".")) for m in service.method]
            wanted = [(m.name, m.input_type.full_name, m.output_type.full_name) for m in published.methods]
            found += [] if sorted(same) == sorted(wanted) else [service.name]
    return found if compared > 50 else ["too little was compared"]


def refusal(method: Callable[[object], object], request: object) -> list[str]:
    try:
        method(request)
    except grpc.RpcError as error:
        return [error.code().name, error.details()]
    return ["OK", ""]


def main(target: str, descriptors: str) -> None:
    with grpc.insecure_channel(target) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        refused = {name: refusal(*call) for name, call in bad(stub, models).items()}
        garbage = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        for name, body in (
            ("garbage", b"\xff\xff\xff"),
            ("half a message", predict({"X": X}).SerializeToString()[:-3]),
        ):
            refused[name] = refusal(garbage, body)
        print(json.dumps({**good(stub, models), "refused": refused, "differences": differences(descriptors)}))


main(*sys.argv[1:3])
