"""Asks an endpoint with the KServe gRPC client, in that client's own environment: ``... HOST:PORT ENDPOINT``.

Prints one JSON object: what it was told.
"""

import asyncio
import json
import sys

import grpc
import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest
from kserve.protocol.grpc import grpc_predict_v2_pb2, grpc_predict_v2_pb2_grpc

ROWS = np.array([[1, 2, 3, 4], [0, 0, 0, -1]], np.float32)


async def infer(client: InferenceGRPCClient, endpoint: str, *, raw: bool) -> dict[str, object]:
    tensor = InferInput("X", [2, 4], "FP32")
    tensor.set_data_from_numpy(ROWS, binary_data=raw)
    answer = await client.infer(InferRequest(endpoint, [tensor], request_id="mine"))
    return {output.name: output.as_numpy().tolist() for output in answer.outputs} | {"id": answer.id}


async def main(url: str, endpoint: str) -> None:
    client = InferenceGRPCClient(url, retries=2)
    told = {
        "live": await client.is_server_live(),
        "ready": await client.is_server_ready(),
        "model": await client.is_model_ready(endpoint),
        "raw": await infer(client, endpoint, raw=True),
        "contents": await infer(client, endpoint, raw=False),
    }
    async with grpc.aio.insecure_channel(url) as channel:
        stub = grpc_predict_v2_pb2_grpc.GRPCInferenceServiceStub(channel)
        request = grpc_predict_v2_pb2.RepositoryModelLoadRequest(model_name="nothing")
        try:
            await stub.RepositoryModelLoad(request)
        except grpc.aio.AioRpcError as error:
            told["load"] = error.code().name
    await client.close()
    print(json.dumps(told))


asyncio.run(main(sys.argv[1], sys.argv[2]))
