"""The usual hand-made gRPC service: grpcio's asyncio server over the V2 protocol; classes come from v2.proto."""

from __future__ import annotations

import asyncio
import os
import sys

import grpc.aio
import numpy as np
from session import open_session

sys.path.insert(0, os.environ["BENCH_SCRATCH"])

import v2_pb2
import v2_pb2_grpc

session = open_session()


class Trees(v2_pb2_grpc.GRPCInferenceServiceServicer):
    """Answers V2 requests."""

    async def ModelInfer(self, request: object, context: object) -> object:
        """Answer rows."""
        tensor = request.inputs[0]
        rows = np.frombuffer(request.raw_input_contents[0], np.float32).reshape(tensor.shape)
        probabilities = session.run(["label", "probabilities"], {tensor.name: rows})[1]
        described = v2_pb2.ModelInferResponse.InferOutputTensor(
            name="probabilities", datatype="FP32", shape=probabilities.shape
        )
        return v2_pb2.ModelInferResponse(
            model_name=request.model_name,
            id=request.id,
            outputs=[described],
            raw_output_contents=[probabilities.tobytes()],
        )


async def main(port: int) -> None:
    """Serve for ever."""
    server = grpc.aio.server()
    v2_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Trees(), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
