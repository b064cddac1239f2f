"""The pages: one file each, from state and last look to what a template shows."""
