"""`penstock demo`: the whole journey of a model on the real flights of New York 2013, narrated."""
