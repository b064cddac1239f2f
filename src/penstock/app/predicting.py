"""Ask an endpoint as any client does: one HTTP request in the Open Inference Protocol."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from penstock.app.app import App
from penstock.app.plane import look
from penstock.errors import InvalidInput, ModelFailed, NotReady
from penstock.statistics.arraytables import array_columns, stacked
from penstock.tensors import DTYPES, FLOATS, Signature, TensorSpec

PER_REQUEST = 5_000


@dataclass(frozen=True)
class Predictions:
    """An endpoint's answers, row by row.

    Attributes:
        values: Labels of a classifier, predictions of a regression.
        ids: Prediction id of each row: what an outcome is reported under.
        version: Version that answered each row.
        outputs: Every output by name, first dimension the rows.
    """

    values: npt.NDArray[np.generic]
    ids: tuple[str, ...]
    version: tuple[str, ...]
    outputs: Mapping[str, npt.NDArray[np.generic]]

    @property
    def id(self) -> str:
        """The first row's id: all there is of a single row."""
        return self.ids[0]

    def frame(self) -> pd.DataFrame:
        """Id, version and every output as columns; a matrix becomes one column a class."""
        columns: dict[str, object] = {"prediction": self.ids, "version": self.version}
        for name, array in self.outputs.items():
            if array.ndim > 1 and array.shape[1] > 1:
                columns |= {f"{name}_{index}": array[:, index] for index in range(array.shape[1])}
            else:
                columns[name] = array.reshape(len(array))
        return pd.DataFrame(columns)


def predict(app: App, endpoint: str, rows: pd.DataFrame, *, key: str = "") -> Predictions:
    """Predict for a frame's rows, in requests of at most 5,000 rows.

    Args:
        app: Whose endpoint.
        endpoint: Its name.
        rows: One column an input; other columns are left out.
        key: Routing key: the same key is answered by the same variant.

    Raises:
        NotReady: Nothing answers.
        InvalidInput: A column is missing or does not fit.
    """
    live = app.state().endpoint(endpoint).live
    url = look(app.home).url
    if not live or not url:
        raise NotReady("nothing answers at this endpoint yet", "penstock status says how far its release is")
    signature = app.open_package(live[0].digest).manifest.signature
    parts = [
        _ask(url, endpoint, _request(signature, rows.iloc[start : start + PER_REQUEST]), key)
        for start in range(0, len(rows), PER_REQUEST)
    ]
    return _joined(parts)


def _request(signature: Signature, rows: pd.DataFrame) -> bytes:
    """Rows as one inference request."""
    return msgspec.json.encode({"inputs": [_input(spec, rows) for spec in signature.inputs]})


def _input(spec: TensorSpec, rows: pd.DataFrame) -> dict[str, object]:
    """One input from its column, or from all columns where the model takes a matrix; an array is one as it is."""
    deep = array_columns(rows)
    if spec.name in deep or (deep and spec.name not in rows):
        return _array_input(spec, stacked(rows[spec.name if spec.name in deep else deep[0]]))
    if spec.name in rows:
        values = rows[spec.name].astype(object).where(rows[spec.name].notna(), None).tolist()
        shape = [len(rows), *(1 for _ in spec.shape[1:])]
        return {"name": spec.name, "datatype": spec.datatype, "shape": shape, "data": values}
    names = list(spec.columns) if spec.columns and set(spec.columns) <= set(rows.columns) else list(rows.columns)
    if len(names) != spec.shape[-1]:
        raise InvalidInput(
            "the rows lack a column that the model needs", "give every input", where=f"inputs.{spec.name}"
        )
    data = rows[names].to_numpy(np.float64).ravel().tolist()
    if spec.datatype in FLOATS:
        data = [None if value != value else value for value in data]  # noqa: PLR0124
    return {"name": spec.name, "datatype": spec.datatype, "shape": [len(rows), len(names)], "data": data}


def _array_input(spec: TensorSpec, array: npt.NDArray[np.generic]) -> dict[str, object]:
    """An array in its spec's datatype: fractions may be rounded, nothing else."""
    whole = array.astype(DTYPES[spec.datatype])
    if (array.dtype.kind != "f" or spec.datatype not in FLOATS) and not np.array_equal(whole, array):
        raise InvalidInput(f"the array holds what is no {spec.datatype}", "convert it", where=f"inputs.{spec.name}")
    data = whole.reshape(-1).tolist()
    if spec.datatype in FLOATS and np.isnan(whole.astype(np.float64)).any():
        data = [None if value != value else value for value in data]  # noqa: PLR0124
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(array.shape), "data": data}


def _ask(url: str, endpoint: str, body: bytes, key: str) -> dict[str, object]:
    """One request, one answer."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "127.0.0.1", place.port, timeout=60)
    headers = {"content-type": "application/json"} | ({"x-routing-key": key} if key else {})
    try:
        connection.request("POST", f"/v2/models/{endpoint}/infer", body, headers)
        response = connection.getresponse()
        answer: dict[str, object] = msgspec.json.decode(response.read())
        answer["prediction_id"] = response.headers.get("x-prediction-id", "")
    except OSError as error:
        raise NotReady("the data plane does not answer", "penstock status says what runs") from error
    finally:
        connection.close()
    if response.status >= 500:
        raise ModelFailed("the endpoint failed", "penstock status, then the log of the data plane")
    if response.status >= 400:
        raise InvalidInput(str(answer.get("error", "refused")), where=str(answer.get("where", "")))
    return answer


def _joined(parts: list[dict[str, object]]) -> Predictions:
    """Several answers as one."""
    arrays: dict[str, list[npt.NDArray[np.generic]]] = {}
    ids: list[str] = []
    versions: list[str] = []
    for part in parts:
        rows = 0
        outputs = msgspec.convert(part["outputs"], list[_Output])
        for output in outputs:
            arrays.setdefault(output.name, []).append(np.asarray(output.data).reshape(output.shape))
            rows = output.shape[0]
        ids += [f"{part['prediction_id']}.{row}" for row in range(rows)]
        versions += [str(part.get("model_version", ""))] * rows
    whole = {name: np.concatenate(chunks) for name, chunks in arrays.items()}
    main = next((name for name in ("label", "prediction") if name in whole), next(iter(whole)))
    return Predictions(whole[main].reshape(len(ids)), tuple(ids), tuple(versions), whole)


class _Output(msgspec.Struct):
    """One output tensor as the protocol writes it."""

    name: str
    shape: list[int]
    data: list[float | int | str | bool]
