"""`python -m penstock.control --home HOME`: the control plane in the foreground."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from penstock.control.plane import serve


def main() -> None:
    """Read the home's place, serve it."""
    parser = argparse.ArgumentParser(prog="python -m penstock.control")
    parser.add_argument("--home", type=Path, required=True)
    home = parser.parse_args().home
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    serve(home)


if __name__ == "__main__":
    main()
