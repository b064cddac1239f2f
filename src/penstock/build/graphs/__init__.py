"""ONNX graphs: their files, their numbers, and surgery on them."""
