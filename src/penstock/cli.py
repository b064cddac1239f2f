"""The `penstock` command: a table of verbs, each loaded when it is typed.

One command is one call into `penstock.app`; what a verb does, takes and prints stands in its own file in
``commands/``. Exit codes: 0 yes, 1 refused, 2 error, 3 not enough evidence yet.
"""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from pathlib import Path

VERBS = {
    "demo": ("demo", "The whole journey of a model on real data, narrated."),
    "package": ("package", "Turn a trained model into a package: open, compile, check parity, register."),
    "check": ("check", "Ask the gate: may this version go out?"),
    "approve": ("approve", "Say yes to a version, as somebody other than its author."),
    "release": ("release", "Send traffic to a version."),
    "rollback": ("rollback", "Take an endpoint back to an earlier release, at once."),
    "up": ("up", "Start the control plane, the data plane and the console on this machine."),
    "down": ("down", "Stop them; what they hold is finished first."),
    "predict": ("predict", "Ask an endpoint, row by row, for a file."),
    "outcome": ("outcome", "Tell an endpoint what turned out to be true."),
    "status": ("status", "What runs, and how it does."),
    "watch": ("watch", "The same, kept up to date."),
    "drift": ("drift", "What moved since the model was trained, and whether it matters."),
    "tune": ("tune", "Measure how an endpoint is served best: workers, threads, batches."),
    "compress": ("compress", "Find a smaller, quicker form of a version that still passes its gates."),
    "serve": ("serve", "Answer predictions from one package folder, with no control plane."),
    "export": ("export", "Write a version as a folder for AWS Lambda, Google Cloud or Azure ML."),
    "push": ("push", "Send a version to an OCI registry, signature and all."),
    "pull": ("pull", "Fetch a package from an OCI registry, check it, register it."),
    "card": ("card", "What records show of a version: its model card, and its bill of materials."),
    "trace": ("trace", "From one prediction back to package, data, code, gate report and approval."),
    "verify": ("verify", "Walk the chain of evidence with nothing but the public key."),
    "key": ("key", "Whose packages are believed: rotate, trust, revoke, sign anew."),
    "token": ("token", "Give an identity a token, or take it back."),
    "conformance": ("conformance", "Ask any server, case by case, whether it keeps the Open Inference Protocol V2."),
    "doctor": ("doctor", "What this machine can do, and what it lacks."),
}


PLAIN = ("--name", "--host", "--port", "--workers", "--behind", "--token-file", "--log-dir", "--allow", "--models")
"""What `penstock serve [FOLDER]` hands to the data plane as it is."""


def main() -> None:
    """Find the verb, import its file, run it."""
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help", "help"):
        _list_verbs()
    elif words[0] in ("--version", "version"):
        print(f"penstock {import_module('penstock').__version__}")
    elif words[0] == "serve" and _is_plain(words[1:]):
        # A container or a function pays for this start each time: nothing but the data plane is loaded for it.
        package = ["--package"] if len(words) % 2 == 0 else []
        sys.exit(import_module("penstock.serve.__main__").main([*package, *words[1:]]))
    elif words[0] in VERBS:
        _run(words[0], words[1:])
    else:
        near = import_module("difflib").get_close_matches(words[0], VERBS, n=1)
        print(f"no  there is no verb of that name{f'; did you mean {near[0]}?' if near else ''}", file=sys.stderr)
        print("    try penstock --help", file=sys.stderr)
        sys.exit(2)


def _run(name: str, words: list[str]) -> None:
    """Load a verb and run it; the base wheel has what `serve` needs and says how to get the others."""
    gc.disable()  # what is imported stays: looking through it for garbage is a tenth of a verb's start
    try:
        run = import_module(f"penstock.commands.{VERBS[name][0]}").run
        run_verb = import_module("penstock.commands.verb").run_verb
    except ModuleNotFoundError as error:
        if not error.name or error.name.partition(".")[0] == "penstock":
            raise
        print(f"no  penstock {name} needs {error.name}, which is not installed", file=sys.stderr)
        extra = name if name == "conformance" else "platform"
        print(f"    try pip install 'penstock[{extra}]'", file=sys.stderr)
        sys.exit(2)
    gc.enable()
    run_verb(run, name, words)


def _is_plain(words: list[str]) -> bool:
    """Whether it is a package's folder, or none, with options that the data plane has too, each with its value."""
    given = len(words) % 2
    names, values = words[given::2], words[given + 1 :: 2]
    return (
        all(name in PLAIN for name in names)
        and not any(value.startswith("-") for value in values)
        and (not given or (Path(words[0]) / "manifest.json").is_file())
    )


def _list_verbs() -> None:
    """Every verb with its one line, in the order of a model's journey."""
    print("usage: penstock VERB ...\n")
    print("Takes trained machine-learning models into production and keeps them right there.\n")
    for name, (_, text) in VERBS.items():
        print(f"  {name:<11} {text}")
    print("\nEvery verb has --help with an example, and --json.")
