"""Save a scikit-learn object in MLflow's own flavour, as its users do: `mlflow_model.py OBJECT FOLDER`."""

from __future__ import annotations

import sys

import joblib
import mlflow.sklearn

if __name__ == "__main__":
    model = joblib.load(sys.argv[1])
    how = {"serialization_format": "cloudpickle", "pyfunc_predict_fn": "predict_proba"}
    mlflow.sklearn.save_model(model, sys.argv[2], **how)
