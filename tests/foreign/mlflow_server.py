"""Run in MLflow's environment: its own scoring server around `flights_like` of the tests."""

from __future__ import annotations

import sys
import tempfile

import mlflow.pyfunc
import numpy as np
import pandas as pd
import uvicorn
from mlflow.models import ModelSignature
from mlflow.pyfunc import scoring_server
from mlflow.types import ColSpec, DataType, Schema


class Flights(mlflow.pyfunc.PythonModel):
    """The labels alone, as most of its models answer."""

    def predict(self, context: object, model_input: pd.DataFrame, params: dict | None = None) -> list[str]:
        """Late or on time."""
        delay = pd.to_numeric(model_input["delay"]).fillna(0.0)
        score = (model_input["carrier"] == "UA") + delay - model_input["distance"] / 1000
        return np.where(score > 0, "late", "on time").tolist()


def main(port: int) -> None:
    """Serve until told to stop."""
    columns = [
        ColSpec(DataType.double, "distance"),
        ColSpec(DataType.string, "carrier"),
        ColSpec(DataType.double, "delay", required=False),
    ]
    signature = ModelSignature(inputs=Schema(columns), outputs=Schema([ColSpec(DataType.string)]))
    with tempfile.TemporaryDirectory() as folder:
        place = f"{folder}/model"
        mlflow.pyfunc.save_model(place, python_model=Flights(), signature=signature, pip_requirements=[])
        app = scoring_server.init(mlflow.pyfunc.load_model(place))
        uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")


if __name__ == "__main__":
    main(int(sys.argv[1]))
