"""A control plane's loop in a process of its own, to be killed: ``python control_for_tests.py HOME``."""

import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from home_for_tests import Control, Home, local  # noqa: E402

if __name__ == "__main__":
    home = Home(Path(sys.argv[1]))
    control = Control(home, local(home))
    print("turning", flush=True)
    while True:
        control.turn()
        time.sleep(0.02)
