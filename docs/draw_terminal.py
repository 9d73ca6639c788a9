"""Draws docs/images/terminal.svg: what some commands print at a terminal, over sample data.

It is in the README, on the landing page and on the page on the command line.

Run it by `python docs/draw_terminal.py` when the commands print something else than before.
"""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import sys
import tempfile
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

from kinto_orm.cli.sample import BUCKET, OWNER, fill
from kinto_orm.server import open_memory, serve

PICTURE = Path(__file__).resolve().parent / "images" / "terminal.svg"
WIDTH = 72
LINES = (
    "kinto-orm ls /buckets/demo",
    "kinto-orm find todos done=false 'priority<=2' --fields title,due",
    """kinto-orm patch todos/milk '{"done": true}' --json""",
    "kinto-orm perms todos/milk --grant read=everyone",
)


def printed(line: str, home: str, url: str) -> str:
    """What a command prints at a terminal of this width."""
    parent, child = pty.openpty()
    own = {"KINTO_ORM_SERVER": url, "KINTO_ORM_AUTH": OWNER, "KINTO_ORM_CONFIG": f"{home}/none"}
    subprocess.run(
        [sys.executable, "-m", "kinto_orm.cli", "--bucket", BUCKET, *shlex.split(line)[1:]],
        stdin=subprocess.DEVNULL,
        stdout=child,
        stderr=child,
        check=True,
        env={**os.environ, **own, "COLUMNS": str(WIDTH), "TERM": "xterm-256color"},
    )
    os.close(child)
    shown = b""
    while data := _read(parent):
        shown += data
    os.close(parent)
    # A user's id is long, and another one each time.
    text = shown.decode().replace("\r\n", "\n")
    return re.sub(r"(?<=basicauth:)([0-9a-f]{8})[0-9a-f]+", r"\1", text)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 10_000)
    except OSError:  # it is closed at its other end
        return b""


def main() -> None:
    """Draw it."""
    console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True)
    with (
        tempfile.TemporaryDirectory() as home,
        open_memory() as server,
        serve(server) as kinto,
    ):
        fill(kinto.url)
        for line in LINES:
            console.print(Text("$ ", "bold green") + Text(line, "bold"))
            console.print(Text.from_ansi(printed(line, home, kinto.url)))
    drawn = console.export_svg(title="kinto-orm", unique_id="terminal")
    # No font from another host.
    drawn = re.sub(r"@font-face {.*?}", "", drawn, flags=re.DOTALL)
    PICTURE.write_text(re.sub(r"[ \t]+$", "", drawn, flags=re.MULTILINE), encoding="utf-8")


if __name__ == "__main__":
    main()
