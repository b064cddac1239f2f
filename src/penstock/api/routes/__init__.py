"""One file per resource: its handlers, and the table that declares what each demands."""
