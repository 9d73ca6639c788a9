"""The browser of this machine. As a program it makes sure that there is one, for `make browser`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

# Of Debian, and of others.
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MISSING = (
    "there is no Chromium on this machine. Install it (Debian, Ubuntu: apt-get install chromium; "
    "Fedora: dnf install chromium; macOS: brew install --cask chromium), or name one: "
    "make browser CHROMIUM=/path/to/chrome"
)


def find() -> str | None:
    """Where it is; None where there is none."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


def install() -> None:
    """Install Debian's, where that may be done."""
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        return
    for command in (["update", "-q"], ["install", "-qy", "--no-install-recommends", "chromium"]):
        subprocess.run(["apt-get", *command], check=False, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    if find() is None:
        install()
    sys.exit(None if find() else MISSING)
