"""What each fixture of `kinto_orm.testing` adds to a test: milliseconds by the clock, medians.

Each line is a run of pytest over many tests that do nothing, less one with tests without a fixture.
The goal is 5 ms.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS, RUNS = 300, 3
PROGRAM = """
import pytest
from kinto_orm import Record, Session

class Todo(Record, collection="todos"):
    title: str

@pytest.fixture
def own_server():
    from kinto_orm.server import open_memory
    settings = {{"description": str(id(object()))}}
    with open_memory(settings=settings) as server:
        yield server

@pytest.mark.parametrize("number", range({tests}))
def test_it(number{fixtures}):
    {act}
"""
# What the tests ask for, what they do, and how many there are.
LINES = {
    "no fixture": ("", "pass", TESTS),
    "kinto_session": (", kinto_session", "pass", TESTS),
    "kinto_session, and a save": (", kinto_session", "Todo(title='x').save()", TESTS),
    "kinto_async_session": (", kinto_async_session", "pass", TESTS),
    "kinto_faults": (", kinto_faults", "pass", TESTS),
    "kinto_factory, and an object": (", kinto_factory", "kinto_factory(Todo)", TESTS),
    "a Kinto built for each test": (", own_server", "pass", 10),
}


def seconds(fixtures: str, act: str, tests: int) -> float:
    """How long pytest takes for some tests."""
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory, "test_program.py")
        program.write_text(PROGRAM.format(fixtures=fixtures, act=act, tests=tests))
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(program)]
        began = time.perf_counter()
        subprocess.run(
            [*command, "-p", "kinto_orm.testing.plugin"],
            check=True,
            cwd=directory,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        )
        return time.perf_counter() - began


def milliseconds(name: str) -> float:
    """What a test takes, without what the first one takes to start a server."""
    fixtures, act, tests = LINES[name]
    return (seconds(fixtures, act, tests) - seconds(fixtures, act, 1)) / (tests - 1) * 1000


def main() -> None:
    """Print a line for each."""
    found = {name: [] for name in LINES}
    for _ in range(RUNS):
        for name, times in found.items():
            times.append(milliseconds(name))
    base = statistics.median(found.pop("no fixture"))
    print(f"a test without a fixture: {base:.2f} ms; on top of that")
    for name, times in found.items():
        print(f"{name:32} {statistics.median(times) - base:8.2f} ms")


if __name__ == "__main__":
    main()
