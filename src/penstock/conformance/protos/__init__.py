"""The Open Inference Protocol's messages as its specification numbers them, compiled; the kit's own copy."""
