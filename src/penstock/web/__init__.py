"""What API and console share: who calls, what a route demands, how a refusal reads, what a browser may do."""
