"""Who may do what: permissions, roles, identities, tokens, keys, and the files that keep them."""
