"""The first save of a new process, with nothing installed but what the extra `server` brings.

More packages make the start slower: Kinto imports what it finds of its monitoring (Sentry, New
Relic, Werkzeug), and the development packages have all of it. `bench/embedded.py` measures there.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embedded import first_save

RUNS, AT_MOST = 7, 1.0
ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def environment(directory: Path) -> Iterator[str]:
    """Make an environment with the extra, and give its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", directory], check=True)
    python = str(directory / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    constraints = ["--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([*install, *constraints, f"{ROOT}[server]"], check=True)
    yield python


def main() -> None:
    """Measure and print."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        environment(Path(scratch, "environment")) as python,
    ):
        for name in ("memory", "sqlite"):
            runs = []
            for number in range(RUNS + 1):
                url = "memory://" if name == "memory" else f"sqlite:///{scratch}/{number}.db"
                runs.append(first_save(url, scratch, python, "-I"))
            # The first one compiles.
            seconds, cpu = map(statistics.median, zip(*runs[1:], strict=True))
            met = "met   " if cpu <= AT_MOST else "MISSED"
            print(f"{met} {name}: {cpu:.2f} s CPU, {seconds:.2f} s; goal: at most {AT_MOST} s CPU")


if __name__ == "__main__":
    main()
