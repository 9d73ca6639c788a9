"""What each fixture of `kinto_orm.testing` adds to a test: milliseconds of CPU, and by the clock.

Each line is a run of pytest over many tests, less one over a single test, and less what a test
without a fixture takes; medians. The goal is 5 ms.
"""

from __future__ import annotations

import os
import resource
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
    "a Kinto built for each test": (", own_server", "pass", 5),
}


def spent(fixtures: str, act: str, tests: int) -> tuple[float, float]:
    """How long pytest takes for some tests: seconds of CPU, and by the clock."""
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory, "test_program.py")
        program.write_text(PROGRAM.format(fixtures=fixtures, act=act, tests=tests))
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(program)]
        cpu, began = cpu_of_children(), time.perf_counter()
        subprocess.run(
            [*command, "-p", "kinto_orm.testing.plugin"],
            check=True,
            cwd=directory,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        )
        return cpu_of_children() - cpu, time.perf_counter() - began


def cpu_of_children() -> float:
    """Seconds, of all that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def milliseconds(name: str) -> tuple[float, ...]:
    """What a test takes, without what the first one takes to start a server."""
    fixtures, act, tests = LINES[name]
    many, one = spent(fixtures, act, tests), spent(fixtures, act, 1)
    return tuple((a - b) / (tests - 1) * 1000 for a, b in zip(many, one, strict=True))


def main() -> None:
    """Print a line for each."""
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in LINES}
    for _ in range(RUNS):
        for name, times in found.items():
            times.append(milliseconds(name))
    medians = {
        name: [statistics.median(each) for each in zip(*times, strict=True)]
        for name, times in found.items()
    }
    cpu, clock = medians.pop("no fixture")
    print(f"a test without a fixture: {cpu:.2f} ms of CPU, {clock:.2f} by the clock; beyond that")
    for name, (more, longer) in medians.items():
        print(f"{name:32} {more - cpu:8.2f} {longer - clock:8.2f}")


if __name__ == "__main__":
    main()
