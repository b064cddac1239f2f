"""Run in MLflow's environment: its scoring client and its deployments client, as anybody writes them."""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd


def scoring(port: str, rows: str) -> dict:
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    client = ScoringServerClient("127.0.0.1", int(port))
    client.wait_server_ready(timeout=20)
    frame = pd.DataFrame(json.loads(rows))
    answer = client.invoke(frame)
    try:
        client.invoke(frame.drop(columns=[frame.columns[0]]))
        refused = ""
    except Exception as error:
        refused = str(error)
    return {
        "version": client.get_version(),
        "predictions": answer.get_predictions().to_dict(orient="records"),
        "labels": client.invoke(frame, params={"outputs": "label"}).get_predictions("ndarray").tolist(),
        "refused": refused,
    }


def tensors(port: str) -> dict:
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    client = ScoringServerClient("127.0.0.1", int(port))
    array = np.array([[1, 2, 3, 4], [0, 0, 0, -1]], np.float32)
    answer = client.invoke(array, params={"outputs": "probabilities"})
    return {"probabilities": answer.get_predictions("ndarray").tolist()}


def plane(target: str, first: str, second: str) -> dict:
    from mlflow.deployments import get_deploy_client
    from mlflow.exceptions import MlflowException

    client = get_deploy_client(target)
    refused = []
    created = client.create_deployment("d", first)
    for attempt in (
        lambda: client.create_deployment("d", first),
        lambda: client.create_deployment("e", "/etc"),
        lambda: client.create_deployment("e", first, config={"speed": "fast"}),
        lambda: client.get_deployment("nothing"),
        lambda: client.predict("nothing", pd.DataFrame([[1, 2, 3, 4]])),
        lambda: client.update_deployment("d"),
    ):
        try:
            attempt()
            refused.append("")
        except MlflowException as error:
            refused.append(error.error_code)
    rows = np.array([[1, 2, 3, 4], [0, 0, 0, -1]], np.float32)
    answers = [client.predict("d", rows)["predictions"]]
    client.update_deployment("d", second)
    answers.append(client.predict("d", rows)["predictions"])
    described = client.get_deployment("d")
    explained = client.explain("d", rows)
    listed = [one["name"] for one in client.list_deployments()]
    client.delete_deployment("d")
    client.delete_deployment("d")
    return {
        "created": created,
        "refused": refused,
        "answers": answers,
        "described": described,
        "explained": len(explained),
        "listed": listed,
        "left": client.list_deployments(),
    }


def home(name: str, model: str, data: str, label: str) -> dict:
    """The home in PENSTOCK_HOME, where the command has deployed `name`."""
    from mlflow.deployments import get_deploy_client
    from mlflow.exceptions import MlflowException

    client = get_deploy_client("penstock")
    refused = {}
    for what, attempt in {
        "unlabelled": lambda: client.create_deployment("other", model),
        "there": lambda: client.create_deployment(name, model, config={"data": data, "label": label}),
        "absent": lambda: client.update_deployment("nothing", model),
    }.items():
        try:
            attempt()
        except MlflowException as error:
            refused[what] = [error.error_code, str(error)]
    updated = client.update_deployment(name, model, config={"break_glass": "a test of the example alone"})
    return {
        "refused": refused,
        "updated": updated,
        "listed": [one["name"] for one in client.list_deployments()],
        "got": client.get_deployment(name),
    }


if __name__ == "__main__":
    print(
        json.dumps({"scoring": scoring, "tensors": tensors, "plane": plane, "home": home}[sys.argv[1]](*sys.argv[2:]))
    )
