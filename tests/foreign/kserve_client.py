"""Asks an endpoint with the KServe client, in that client's own environment: ``kserve_client.py URL ENDPOINT ROW``.

Prints one JSON object: what V2 and V1 answered.
"""

import asyncio
import json
import sys

import httpx
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig


async def main(url: str, endpoint: str, row: dict[str, object]) -> None:
    datatypes = {float: "FP64", int: "INT64", str: "BYTES"}
    inputs = [InferInput(name, [1, 1], datatypes[type(value)], [value]) for name, value in row.items()]
    v2 = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    answer = await v2.infer(url, InferRequest(endpoint, inputs), model_name=endpoint)
    outputs = {output.name: list(output.data) for output in answer.outputs}
    ready = await v2.is_model_ready(url, endpoint)
    live = await v2.is_server_live(url)
    v1 = InferenceRESTClient(RESTConfig(protocol="v1", retries=0))
    predictions = await v1.infer(url, {"instances": [row]}, model_name=endpoint)
    explained = await v1.explain(url, endpoint, {"instances": [row]})
    async with httpx.AsyncClient(base_url=url) as plain:
        metadata = (await plain.get(f"/v2/models/{endpoint}")).json()
        listed = (await plain.get("/v1/models")).json()["models"]
    found = {"metadata": [one["name"] for one in metadata["inputs"]], "index": sorted(listed)}
    found |= {"v1": predictions["predictions"], "explanations": explained["explanations"]}
    print(json.dumps({"v2": outputs, "ready": ready, "live": live, **found}))


asyncio.run(main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3])))
