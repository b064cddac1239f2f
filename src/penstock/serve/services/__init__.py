"""gRPC services, one file each: dialects whose calls come as messages of a stream."""
