"""What packaging costs: memory of the whole process tree beside the model's size, and time.

    python -m bench.packaging [forest|onnx|encoder|parity|program] [--mb 500]

A model of about that size is made first, by a process of its own, and a tiny one of the same kind. Each is packaged by
a fresh process. Every 20 ms the memory of that process and all below it is added up from ``/proc/PID/smaps_rollup``:
PSS, so that a page that several share counts once; and the anonymous part of it, which no kernel can drop and read
again. "Above" is the peak without that of the tiny model: libraries and interpreters cost the same for every model.
Boosters have trees of 31 leaves, some of them again and again until their library's own file has its size.
``peak_at_s`` says beside which step. ``parity`` packages a forest of 100 trees with 1,000 rows. ``program``, one of
PyTorch's, is packaged where it is named, by ``.venv/frameworks/bin/python``. Seconds are of a clock and of processors:
on a busy machine only the second hold.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

STEP_S = 0.02
PACKAGE = """
import json, resource, sys, time
from pathlib import Path
from typing import Any
from penstock.build.assemble import build
from penstock.build.request import BuildRequest
begun = time.monotonic()
steps = []
model, data, out, label = sys.argv[1:]
package = build(Path(model), BuildRequest(name="m", out=Path(out), data=Path(data), labels=label, lock=False,
    patience_s=1500.0, progress=lambda step: steps.append([round(time.monotonic() - begun, 1), step])))
seconds = round(time.monotonic() - begun, 1)
found = {"begun": begun, "engine": package.manifest.engine, "seconds": seconds, "steps": steps}
found["reason"] = package.manifest.parity.reason
uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
found["cpu_s"] = round(sum(one.ru_utime + one.ru_stime for one in uses), 1)
print(json.dumps(found))
"""
MAKE = {
    "forest": """
import sys, joblib, numpy as np, pandas as pd
from sklearn.ensemble import RandomForestRegressor
mb, out = float(sys.argv[1]), sys.argv[2]
random = np.random.default_rng(0)
rows = random.normal(size=(40_000, 8)).astype(np.float32)
# A tree of such rows that is grown to its end has about 80,000 nodes of 72 bytes.
trees = max(int(mb * 1e6 / (50_500 * 72)), 1)
rows = rows if mb > 5 else rows[:400]
model = RandomForestRegressor(trees, random_state=0).fit(rows, random.random(len(rows)))
joblib.dump(model, out + "/model")
pd.DataFrame(rows[:200]).assign(y=0.5).to_csv(out + "/rows.csv", index=False)
""",
    "parity": """
import sys, joblib, numpy as np, pandas as pd
from sklearn.ensemble import RandomForestClassifier
out = sys.argv[2]
random = np.random.default_rng(0)
rows = random.normal(size=(5_000, 20))
joblib.dump(RandomForestClassifier(100, random_state=0).fit(rows, rows[:, 0] + rows[:, 1] ** 2 > 1), out + "/model")
pd.DataFrame(rows[:1000]).assign(y=1).to_csv(out + "/rows.csv", index=False)
""",
    "lightgbm": """
import sys, lightgbm, numpy as np, pandas as pd
mb, out = float(sys.argv[1]), sys.argv[2]
rows = np.random.default_rng(0).normal(size=(2_000, 8))
fitted = lightgbm.train({"verbose": -1}, lightgbm.Dataset(rows, rows.sum(axis=1)), 30)
head, _, rest = fitted.model_to_string().partition("Tree=0\\n")
rest, end, tail = rest.partition("end of trees")
trees = [one.partition("\\n")[2] if at else one for at, one in enumerate(rest.split("Tree="))]
count = max(int(mb * 1e6 / (len(rest) / len(trees))), 30)
texts = [f"Tree={at}\\n{trees[at % len(trees)]}" for at in range(count)]
sizes = "tree_sizes=" + " ".join(str(len(one)) for one in texts)
head = "\\n".join(sizes if line.startswith("tree_sizes=") else line for line in head.split("\\n"))
with open(out + "/model", "w") as file:
    file.writelines([head, *texts, end, tail])
pd.DataFrame(rows[:200]).assign(y=0.5).to_csv(out + "/rows.csv", index=False)
""",
    "xgboost": """
import sys, json, os, xgboost, numpy as np, pandas as pd
mb, out = float(sys.argv[1]), sys.argv[2]
rows = np.random.default_rng(0).normal(size=(2_000, 8))
fitted = xgboost.train({"max_depth": 0, "max_leaves": 31, "grow_policy": "lossguide"},
    xgboost.DMatrix(rows, rows.sum(axis=1)), 30)
whole = json.loads(bytes(fitted.save_raw("json")))
model = whole["learner"]["gradient_booster"]["model"]
count = max(int(mb * 1e6 / (len(fitted.save_raw("ubj")) / 30)), 30)
model["trees"] = [{**model["trees"][at % 30], "id": at} for at in range(count)]
model["tree_info"], model["iteration_indptr"] = [0] * count, list(range(count + 1))
model["gbtree_model_param"]["num_trees"] = str(count)
with open(out + "/model.json", "w") as file:
    json.dump(whole, file)
xgboost.Booster(model_file=out + "/model.json").save_model(out + "/model.ubj")
os.remove(out + "/model.json")
os.rename(out + "/model.ubj", out + "/model")
pd.DataFrame(rows[:200]).assign(y=0.5).to_csv(out + "/rows.csv", index=False)
""",
    "onnx": """
import sys, numpy as np, pandas as pd, onnx
from onnx import TensorProto, helper, numpy_helper
mb, out = float(sys.argv[1]), sys.argv[2]
width = max(int((mb * 1e6 / 4 / 4) ** 0.5), 4)
random = np.random.default_rng(0)
nodes, constants, last = [], [], "X"
for layer in range(5):
    rows = width if layer else 64
    weights = (random.normal(size=(rows, width)) / rows**0.5).astype(np.float32)
    constants.append(numpy_helper.from_array(weights, f"w{layer}"))
    nodes.append(helper.make_node("MatMul", [last, f"w{layer}"], [f"m{layer}"]))
    nodes.append(helper.make_node("Relu", [f"m{layer}"], [f"r{layer}"]))
    last = f"r{layer}"
nodes.append(helper.make_node("ReduceMax", [last], ["y"], axes=[1], keepdims=1))
inputs = [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 64])]
outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])]
graph = helper.make_graph(nodes, "mlp", inputs, outputs, constants)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), out + "/model")
rows = pd.DataFrame(random.normal(size=(200, 64)).astype(np.float32)).rename(columns=str)
rows.assign(y=0.5).to_parquet(out + "/rows.csv")
""",
    "program": """
import os, sys, numpy as np, pandas as pd, torch
mb, out = float(sys.argv[1]), sys.argv[2]
width = max(int((mb * 1e6 / 4 / 4) ** 0.5), 4)
torch.manual_seed(0)
parts = [part for rows in (64, *[width] * 4) for part in (torch.nn.Linear(rows, width), torch.nn.ReLU())]
model = torch.nn.Sequential(*parts, torch.nn.Linear(width, 1)).eval()
free = ({0: torch.export.Dim.DYNAMIC},)
torch.export.save(torch.export.export(model, (torch.randn(4, 64),), dynamic_shapes=free), out + "/model.pt2")
os.rename(out + "/model.pt2", out + "/model")
rows = pd.DataFrame(np.random.default_rng(0).normal(size=(200, 64)).astype(np.float32)).rename(columns=str)
rows.assign(y=0.5).to_parquet(out + "/rows.csv")
""",
    "encoder": """
import sys, json, shutil, struct, numpy as np, pandas as pd
from pathlib import Path
from typing import Any
mb, out, golden = float(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
folder = out / "model"
shutil.copytree(golden, folder)
(folder / "expected.json").unlink()
config = json.loads((folder / "config.json").read_text())
size, layers = 256, max(int(mb * 1e6 / 4 / (256 * 256 * 4 + 2 * 256 * 1024)), 1)
config.update(hidden_size=size, intermediate_size=1024, num_hidden_layers=layers, num_attention_heads=8)
(folder / "config.json").write_text(json.dumps(config))
pooling = json.loads((folder / "1_Pooling/config.json").read_text())
pooling["word_embedding_dimension"] = size
(folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
shapes = {"embeddings.word_embeddings.weight": (config["vocab_size"], size),
    "embeddings.position_embeddings.weight": (config["max_position_embeddings"], size),
    "embeddings.token_type_embeddings.weight": (2, size),
    "embeddings.LayerNorm.weight": (size,), "embeddings.LayerNorm.bias": (size,)}
for layer in range(layers):
    name = f"encoder.layer.{layer}."
    square = [f"attention.{part}" for part in ("self.query", "self.key", "self.value", "output.dense")]
    parts = [(part, (size, size)) for part in square]
    for part, shape in [*parts, ("intermediate.dense", (1024, size)), ("output.dense", (size, 1024))]:
        shapes |= {f"{name}{part}.weight": shape, f"{name}{part}.bias": shape[:1]}
    for part in ("attention.output.LayerNorm", "output.LayerNorm"):
        shapes |= {f"{name}{part}.weight": (size,), f"{name}{part}.bias": (size,)}
header, at = {}, 0
for name, shape in shapes.items():
    bytes_ = int(np.prod(shape)) * 4
    header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + bytes_]}
    at += bytes_
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
random = np.random.default_rng(0)
with (folder / "model.safetensors").open("wb") as file:
    file.write(struct.pack("<Q", len(text)) + text)
    for name, shape in shapes.items():
        scale = 1.0 if "LayerNorm" in name else 0.05
        file.write((random.normal(size=shape) * scale).astype(np.float32).tobytes())
words = ["river", "water", "gate", "the river", "a cafe", "naive water", "the gate.", "water, water"]
pd.DataFrame({"text": words * 4}).to_csv(out / "rows.csv", index=False)
""",
}
GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "encoder"


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser("bench.packaging", description=__doc__)
    parser.add_argument("kinds", nargs="*", default=[])
    parser.add_argument("--mb", type=float, default=500)
    asked = parser.parse_args()
    for kind in asked.kinds or ["parity", "forest", "lightgbm", "xgboost", "onnx", "encoder"]:
        with tempfile.TemporaryDirectory(prefix="packaging-") as place:
            tiny = _measured(kind, 0.0, Path(place) / "tiny")
            if kind == "parity":
                print(json.dumps({"kind": kind, **tiny}))
                continue
            large = _measured(kind, asked.mb, Path(place) / "large")
        size = large["size_mb"]
        large |= {
            "pss_of_size": round(large["pss_mb"] / size, 2),
            "pss_above_of_size": round((large["pss_mb"] - tiny["pss_mb"]) / size, 2),
            "anonymous_above_of_size": round((large["anonymous_mb"] - tiny["anonymous_mb"]) / size, 2),
        }
        print(json.dumps({"kind": kind, "tiny": tiny, "large": large}), flush=True)


def _measured(kind: str, mb: float, place: Path) -> dict[str, Any]:
    place.mkdir(parents=True)
    subprocess.run([sys.executable, "-c", MAKE[kind], str(mb), str(place), str(GOLDEN)], check=True)
    model = place / "model"
    files = [model] if model.is_file() else [one for one in model.rglob("*") if one.is_file()]
    label = "" if kind == "encoder" else "y"
    command = [sys.executable, "-c", PACKAGE, str(model), str(place / "rows.csv"), str(place / "out"), label]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    peak, at = {"pss": 0, "anonymous": 0}, 0.0
    while process.poll() is None:
        pss, anonymous = _tree(process.pid)
        if pss > peak["pss"]:
            at = time.monotonic()
        peak = {"pss": max(peak["pss"], pss), "anonymous": max(peak["anonymous"], anonymous)}
        time.sleep(STEP_S)
    said, wrong = process.communicate()
    found = json.loads(said.splitlines()[-1]) if process.returncode == 0 else {"failed": wrong[-600:]}
    return {
        "size_mb": round(sum(one.stat().st_size for one in files) / 1e6, 1),
        **{f"{name}_mb": round(value * 1024 / 1e6, 1) for name, value in peak.items()},
        "peak_at_s": round(at - found.pop("begun", at), 1),
        **found,
    }


def _tree(root: int) -> tuple[int, int]:
    """PSS and its anonymous part of a process and all below it, in KiB."""
    pss = anonymous = 0
    waiting = [root]
    while waiting:
        process = waiting.pop()
        try:
            for thread in os.listdir(f"/proc/{process}/task"):
                waiting += map(int, Path(f"/proc/{process}/task/{thread}/children").read_text().split())
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                name, _, rest = line.partition(":")
                if name == "Pss":
                    pss += int(rest.split()[0])
                elif name == "Pss_Anon":
                    anonymous += int(rest.split()[0])
        except (OSError, ValueError):
            continue
    return pss, anonymous


if __name__ == "__main__":
    main()
