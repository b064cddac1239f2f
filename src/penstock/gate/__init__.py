"""Stage 2: may this version go out? A candidate and a policy come in, findings and a verdict go out."""
