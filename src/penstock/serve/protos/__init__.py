"""What gRPC clients and this server both know: the services' .proto files, and their messages."""
