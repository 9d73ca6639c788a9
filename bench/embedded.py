"""The embedded Kintos beside each other: CPU and time of a save and a get, and the first save.

Each line is the median of several runs, which take turns. The CPU time is that of this process:
client and Kinto together, but for `local://`, whose PostgreSQL has processes of its own.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack

from kinto_orm import Record, Session

RUNS, TIMES = 7, 100
FIRST = """
import sys, time
began = time.perf_counter()
from kinto_orm import Record, Session
class Todo(Record, collection="todos"):
    title: str
with Session(sys.argv[1]):
    Todo(title="x").save()
    print(time.perf_counter() - began)
"""


class Todo(Record, collection="todos"):
    """What is saved."""

    title: str
    n: int = 0
    done: bool = False


def measured(act: Callable[[int], object]) -> tuple[float, float]:
    """Milliseconds of CPU, and by the clock, for each of some calls."""
    cpu, clock = time.process_time(), time.perf_counter()
    for number in range(TIMES):
        act(number)
    return (time.process_time() - cpu) * 1000 / TIMES, (time.perf_counter() - clock) * 1000 / TIMES


def acts(session: Session) -> dict[str, Callable[[int], object]]:
    """What is done, by its name."""
    todo = Todo(id="x", title="x").save(session=session)

    def change(number: int) -> object:
        todo.n += number + 1
        return todo.save()

    return {
        "create": lambda number: Todo(title=f"todo {number}").save(session=session),
        "save": change,
        "get": lambda _: Todo.get("x", session=session),
    }


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        urls = {
            "memory": "memory://",
            "sqlite": f"sqlite:///{directory}/app.db",
            "local": f"local://{directory}/data",
        }
        # Before this process has opened the same: what a program waits for at its start.
        for name, url in urls.items():
            seconds = [first_save(url, directory) for _ in range(3)]
            print(f"{name:7} from the start to the first save: {min(seconds[1:]):.2f} s")
        doing = {name: acts(stack.enter_context(Session(url))) for name, url in urls.items()}
        for act in ("create", "save", "get"):
            found: dict[str, list[tuple[float, float]]] = {name: [] for name in urls}
            for _ in range(RUNS):
                for name in urls:
                    found[name].append(measured(doing[name][act]))
            show(
                act,
                {
                    name: [statistics.median(x) for x in zip(*found[name], strict=True)]
                    for name in urls
                },
            )


def first_save(url: str, directory: str) -> float:
    """Seconds that a new process takes until it has saved something."""
    done = subprocess.run(
        [sys.executable, "-c", FIRST, url],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        cwd=directory,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def show(act: str, found: dict[str, list[float]]) -> None:
    """Print an act's times, and how they compare."""
    for name, (cpu, clock) in found.items():
        times = cpu / found["memory"][0]
        print(
            f"{name:7} {act:7} {cpu:6.2f} ms CPU ({times:.2f} of memory), {clock:6.2f} ms, "
            f"{1000 / clock:5.0f} a second"
        )


if __name__ == "__main__":
    main()
