"""MLflow's deployments plugin: ``get_deploy_client("penstock")`` and ``mlflow deployments ... -t penstock``.

MLflow finds it by the entry point group ``mlflow.deployments`` and looks for one client class, `run_local` and
`target_help`. Source: MLflow's "Deployment plugins".
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast
from urllib.parse import quote, urlsplit

import mlflow.artifacts
import pandas as pd
from mlflow.deployments import BaseDeploymentClient, PredictionsResponse
from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2 as codes

from penstock.errors import Conflict, Forbidden, InvalidInput, NotFound, PenstockError
from penstock.integrations.deploying import Answer, place_of
from penstock.integrations.mlmodel import FoundModel, find_model

_CODES = {
    InvalidInput: codes.INVALID_PARAMETER_VALUE,
    NotFound: codes.RESOURCE_DOES_NOT_EXIST,
    Conflict: codes.RESOURCE_ALREADY_EXISTS,
    Forbidden: codes.PERMISSION_DENIED,
}
HELP = """Penstock

  -t penstock                        the home in PENSTOCK_HOME, or .penstock here
  -t penstock:/path/of/a/home        another one
  -t penstock:http://127.0.0.1:8470  a data plane (penstock serve --models DIR); PENSTOCK_TOKEN is sent to it

Into a home, create and update package the model, ask the gate and release the version. They take a model's file or
an MLflow model of the flavor sklearn, onnx, xgboost or lightgbm.
  -C data=FILE         rows that the model was not trained on, with their truth; an input example stands in for them
                       where MLflow kept one, but the gate does not pass a model on that alone
  -C label=COLUMN      the column of the truth
  -C strategy=NAME     at-once, blue-green, canary or shadow
  -C break_glass=WHY   release without a passing verdict; written down with your name
delete takes an endpoint out of memory until its next release.

PENSTOCK_COMMAND names the command to use where Penstock's platform is installed in another environment.

A data plane takes packages from below the folders that it was started with.
"""


class PenstockDeploymentClient(BaseDeploymentClient):  # type: ignore[misc]
    """Deploys to a home or to a data plane; see `HELP`.

    Args:
        target_uri: ``penstock``, ``penstock:FOLDER`` or ``penstock:http://HOST:PORT``.
    """

    def __init__(self, target_uri: str) -> None:
        super().__init__(target_uri)
        self._place = place_of(target_uri)

    def create_deployment(
        self,
        name: str,
        model_uri: str,
        flavor: str | None = None,
        config: Mapping[str, str] | None = None,
        endpoint: str | None = None,
    ) -> Answer:
        """Have a model answer under a new name.

        Raises:
            MlflowException: What was refused, with its code.
        """
        with TemporaryDirectory(prefix="penstock-") as scratch, _Told():
            return self._place.create(name, _fetched(model_uri, flavor, scratch), config or {})

    def update_deployment(
        self,
        name: str,
        model_uri: str | None = None,
        flavor: str | None = None,
        config: Mapping[str, str] | None = None,
        endpoint: str | None = None,
    ) -> Answer:
        """Have another model answer under the name."""
        with TemporaryDirectory(prefix="penstock-") as scratch, _Told():
            if model_uri is None:
                raise InvalidInput("there is nothing to update it with", "name a model", where="model_uri")
            return self._place.update(name, _fetched(model_uri, flavor, scratch), config or {})

    def delete_deployment(
        self, name: str, config: Mapping[str, str] | None = None, endpoint: str | None = None
    ) -> None:
        """Have it answer no more; one that is not there is deleted already."""
        with _Told():
            try:
                self._place.delete(name)
            except NotFound:
                return

    def list_deployments(self, endpoint: str | None = None) -> list[Answer]:
        """Every endpoint."""
        with _Told():
            return self._place.listed()

    def get_deployment(self, name: str, endpoint: str | None = None) -> Answer:
        """One of them, with its inputs and outputs while it is loaded."""
        with _Told():
            found = next((one for one in self._place.listed() if one["name"] == name), None)
            if found is None:
                raise NotFound("there is no such deployment", "list them")
            described = self._place.ask("GET", f"/v2/models/{quote(name, safe='')}")
            return {**found, **cast("Answer", described), "name": name}

    def predict(
        self, deployment_name: str | None = None, inputs: object = None, endpoint: str | None = None
    ) -> PredictionsResponse:
        """What it answers, one entry a row."""
        with _Told():
            answer = self._asked(deployment_name or endpoint, inputs, "predict")
            return PredictionsResponse({"predictions": answer["predictions"]})

    def explain(self, deployment_name: str | None = None, df: object = None, endpoint: str | None = None) -> object:
        """Which part each feature has in what it answers, one entry a row."""
        with _Told():
            return self._asked(deployment_name or endpoint, df, "explain")["explanations"]

    def _asked(self, name: str | None, inputs: object, verb: str) -> Answer:
        if not name:
            raise InvalidInput("there is no deployment named", "name one", where="deployment_name")
        body = {"instances": _rows(inputs)}
        return cast("Answer", self._place.ask("POST", f"/v1/models/{quote(name, safe='')}:{verb}", body))


def run_local(name: str, model_uri: str, flavor: str | None = None, config: Mapping[str, str] | None = None) -> None:
    """Answer in this process until told to stop: a package's folder, with no control plane."""
    with _Told():
        found = _fetched(model_uri, flavor, "")
        if found.flavor != "penstock":
            raise InvalidInput("only a package can be served alone", "create a deployment", where="model_uri")
        port = (config or {}).get("port", "0")
    sys.stdout.flush()
    words = ["-m", "penstock.serve", "--package", str(found.path), "--name", name, "--port", port]
    os.execv(sys.executable, [sys.executable, *words])  # noqa: S606 (a shell is just what it must not pass through)


def target_help() -> str:
    """What targets there are, and their settings."""
    return HELP


class _Told:
    """Tells our errors in MLflow's words."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, PenstockError):
            code = next((code for one, code in _CODES.items() if isinstance(error, one)), codes.INTERNAL_ERROR)
            raise MlflowException(str(error), error_code=code) from error


def _fetched(model_uri: str, flavor: str | None, scratch: str) -> FoundModel:
    """What is at the end of a URI; another than a path is brought here by MLflow."""
    split = urlsplit(model_uri)
    if split.scheme in ("", "file"):
        return find_model(Path(split.path or model_uri), flavor or "")
    return find_model(Path(mlflow.artifacts.download_artifacts(model_uri, dst_path=scratch)), flavor or "")


def _rows(inputs: object) -> object:
    """A frame's rows as objects by column, what is missing as null; anything else as it is."""
    if isinstance(inputs, pd.DataFrame):
        plain = inputs.astype(object).where(inputs.notna(), None)
        return plain.to_dict(orient="records")
    return inputs.tolist() if hasattr(inputs, "tolist") else inputs
