"""What is seen of bulk work while it goes on: a bar on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from operator import length_hint
from typing import Any, Protocol, TypeAlias

# Shows how many objects are done, and what became of them.
Draw: TypeAlias = Callable[[int, str], object]
# Draws as many as there are; None where nobody knows.
Drawing: TypeAlias = Callable[[int | None], AbstractContextManager[Draw]]


class Counts(Protocol):
    """What is told of the work: a summary."""

    @property
    def total(self) -> int: ...  # noqa: D102
    @property
    def counts(self) -> str: ...  # noqa: D102


class _Screen:
    """Standard error, as long as it takes anything: no work ends for want of its bar."""

    def __init__(self) -> None:
        self._stream = sys.stderr
        self._is_broken = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, unless that failed once: nobody reads it, or it was closed."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Let all be seen that was written."""
        self._try(self._stream.flush)

    def isatty(self) -> bool:
        """Whether somebody looks at it."""
        return not getattr(self._stream, "closed", False) and self._stream.isatty()

    def _try(self, act: Callable[[], object]) -> None:
        if not self._is_broken:
            try:
                act()
            except (OSError, ValueError):
                self._is_broken = True


@contextmanager
def bar(objects: object, summary: Counts) -> Iterator[Callable[[Counts], object]]:
    """Show a bar while the block runs: by Rich or tqdm where one is installed, else a line.

    Args:
        objects: Those of the work; how many they are is shown where they tell it.
        summary: What was done before.

    Yields:
        What is to be called with the summary as it grows.
    """
    size = length_hint(objects, -1)
    if size == 0 or sys.stderr is None:  # None: a program without a console
        yield lambda _: None
        return
    begun = summary.total
    with _way()(size if size > 0 else None) as draw:
        yield lambda now: draw(now.total - begun, now.counts)


def _way() -> Drawing:
    """How it can be drawn here."""
    if find_spec("rich") and (find_spec("ipywidgets") or not _is_notebook()):
        return _by_rich
    return _by_tqdm if find_spec("tqdm") else _plainly


def _is_notebook() -> bool:
    """Whether Rich would draw with widgets, as in Jupyter."""
    from rich.console import Console

    return Console(stderr=True).is_jupyter


@contextmanager
def _by_rich(size: int | None) -> Iterator[Draw]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    counts = TextColumn("{task.description}", markup=False)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), counts)
    # What the program prints stays where it belongs.
    streams: Any = {"redirect_stdout": False, "redirect_stderr": False}
    screen: Any = _Screen()
    with Progress(*columns, console=Console(file=screen), **streams) as progress:
        task = progress.add_task("", total=size)
        yield lambda done, said: progress.update(task, completed=done, description=said)


@contextmanager
def _by_tqdm(size: int | None) -> Iterator[Draw]:
    from tqdm.auto import tqdm

    with tqdm(total=size, file=_Screen()) as shown:

        def draw(done: int, said: str) -> None:
            shown.set_postfix_str(said, refresh=False)
            shown.update(done - shown.n)

        yield draw


@contextmanager
def _plainly(size: int | None) -> Iterator[Draw]:
    """A line that is written again and again at a terminal, and once elsewhere."""
    line = ""
    screen: Any = _Screen()
    is_seen = screen.isatty()
    of_all = "" if size is None else f" of {size}"

    def draw(done: int, said: str) -> None:
        nonlocal line
        line = f"{done}{of_all}: {said}".ljust(len(line))
        if is_seen:
            print(f"\r{line}", end="", file=screen, flush=True)

    try:
        yield draw
    finally:
        if line:
            print(f"\r{line}" if is_seen else line, file=screen, flush=True)
