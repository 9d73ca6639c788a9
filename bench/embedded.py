"""The embedded Kintos beside each other: the first save, one act of each kind, writers, sizes.

Each line is the median of several runs, which take turns. The CPU time is that of this process:
client and Kinto together, but for `local://`, whose PostgreSQL has processes of its own. `ram` is
a file in the machine's memory, where there is /dev/shm: what a `memory://` made of SQLite would
cost at most.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from kinto_orm import Record, Session
from kinto_orm.server import open_sqlite

RUNS, TIMES = 7, 100
PAGE, WRITERS = 1000, 4
MEMORY = Path("/dev/shm")
# As for users: what was imported once is compiled.
COMPILED = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
FIRST = """
import sys, time
began = time.perf_counter()
from kinto_orm import Record, Session
class Todo(Record, collection="todos"):
    title: str
with Session(sys.argv[1]):
    Todo(title="x").save()
    print(time.perf_counter() - began, time.process_time())
"""


class Todo(Record, collection="todos"):
    """What is saved."""

    title: str
    n: int = 0
    done: bool = False


class Note(Record, collection="notes"):
    """What is listed."""

    title: str
    n: int = 0


def measured(act: Callable[[int], object], times: int) -> tuple[float, float]:
    """Milliseconds of CPU, and by the clock, for each of some calls."""
    cpu, clock = time.process_time(), time.perf_counter()
    for number in range(times):
        act(number)
    return (time.process_time() - cpu) * 1000 / times, (time.perf_counter() - clock) * 1000 / times


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
        "page": lambda _: Note.find(session=session).limit(PAGE).all(),
        "count": lambda _: Note.find(Note.n > 10, session=session).count(),
        "order": lambda _: Note.find(session=session).order_by(Note.title).limit(20).all(),
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
            both = [first_save(url, directory) for _ in range(4)]
            seconds, cpu = map(min, zip(*both[1:], strict=True))
            print(f"{name:7} from the start to the first save: {seconds:.2f} s, {cpu:.2f} s CPU")
        if MEMORY.is_dir():
            ram = stack.enter_context(tempfile.TemporaryDirectory(dir=MEMORY))
            stack.enter_context(open_sqlite(f"{ram}/app.db", durable=False))
            urls["ram"] = f"sqlite:///{ram}/app.db"
        sessions = {name: stack.enter_context(Session(url)) for name, url in urls.items()}
        doing = {name: acts(session) for name, session in sessions.items()}
        for act in ("create", "save", "get"):
            compare(act, doing, TIMES)
        for name, session in sessions.items():
            at_once(name, session)
        for session in sessions.values():
            session.save_all((Note(title=f"{n}", n=n) for n in range(PAGE)), workers=1)
        for act in ("page", "count", "order"):
            compare(act, doing, 5)
        sizes(Path(directory))


def compare(act: str, doing: dict[str, dict[str, Callable[[int], object]]], times: int) -> None:
    """Let all do the same in turns, and print it."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in doing}
    for _ in range(RUNS):
        for name in doing:
            found[name].append(measured(doing[name][act], times))
    medians = {
        name: [statistics.median(each) for each in zip(*found[name], strict=True)] for name in found
    }
    show(act, medians)


def at_once(name: str, session: Session) -> None:
    """Several threads create records, by the clock."""

    def work(_: int) -> None:
        for number in range(TIMES // WRITERS):
            Todo(title=f"todo {number}").save(session=session)

    clock = time.perf_counter()
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(work, range(WRITERS)))
    each = TIMES / (time.perf_counter() - clock)
    print(f"{name:7} {WRITERS} writers at once: {each:5.0f} a second")


def sizes(directory: Path) -> None:
    """Print what all that is on the disk."""
    for name, pattern in (("sqlite", "app.db*"), ("local", "data/**/*")):
        files = [each for each in directory.glob(pattern) if each.is_file()]
        print(f"{name:7} {sum(each.stat().st_size for each in files) / 2**20:5.1f} MB on the disk")


def first_save(url: str, directory: str, *python: str) -> tuple[float, float]:
    """Seconds that a new process takes until it has saved something; and of its CPU."""
    done = subprocess.run(
        [*(python or [sys.executable]), "-c", FIRST, url],
        env={**COMPILED, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        cwd=directory,
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, cpu = map(float, done.stdout.split())
    return seconds, cpu


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
