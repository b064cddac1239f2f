"""The nodes of each declared step in an ONNX graph, one a file; the contract is `penstock.build.emission`."""
