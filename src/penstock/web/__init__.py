"""What the API and the console share: who is calling, what a route demands, how a refusal reads, what a browser may do."""
