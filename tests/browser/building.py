"""The documentation, built once, and served on a port."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = next(each for each in Path(__file__).parents if (each / "pyproject.toml").exists())
DOCS = ROOT / "docs"
BUILT = DOCS / "_build" / "html"
# Each page has an address of its own.
PAGES = sorted(each.stem for each in DOCS.glob("*.md"))


def built(directory: Path) -> Path:
    """Where the built pages are: what `make docs` made of these sources, else a new build.

    Args:
        directory: Where a new one is put.
    """
    if is_fresh():
        return BUILT
    run(str(DOCS / "draw_rooms.py"))
    run("-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(DOCS), str(directory))
    return directory


def is_fresh() -> bool:
    """Whether nothing was changed since the last `make docs`."""
    made = BUILT / "searchindex.js"
    if not made.exists():
        return False
    sources = [ROOT / "CHANGELOG.md", *(ROOT / "src").rglob("*.py")]
    sources += [each for each in DOCS.rglob("*") if "_build" not in each.parts]
    return max(each.stat().st_mtime for each in sources if each.is_file()) < made.stat().st_mtime


def run(*arguments: str) -> None:
    """Run a program of Python's; what it prints is told only when it fails."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *said: object) -> None:
        """Say nothing."""


@contextmanager
def on_a_port(directory: Path) -> Iterator[str]:
    """Serve a directory on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
