"""Finding by measurement how an endpoint should be served: workers, threads, batches."""
