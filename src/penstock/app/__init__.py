"""The use cases: the one place where parts are wired. One file per thing a person asks for."""
