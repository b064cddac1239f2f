"""A picture of the console, taken by a headless browser; without one, the line that installs it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
SIZE = "1360,1320"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    f"--window-size={SIZE}",
    "--virtual-time-budget=4000",
)
TIMEOUT_S = 60


def take_picture(url: str, place: Path) -> str:
    """Open a page and keep what it looks like.

    Args:
        url: Of the page; it has to sign in by itself.
        place: Where the PNG goes.

    Returns:
        The picture's path, or in words what is missing to take one.
    """
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), "")
    if not browser:
        return "not taken: there is no browser (apt-get install chromium)"
    with tempfile.TemporaryDirectory(prefix="penstock-browser-") as profile:
        command = [browser, *FLAGS, f"--user-data-dir={profile}", f"--screenshot={place.absolute()}", url]
        try:
            subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=True)
        except (subprocess.SubprocessError, OSError):
            return "not taken: the browser failed"
    return str(place)
