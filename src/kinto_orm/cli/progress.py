"""Progress bars: on standard error, and only at a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from kinto_orm.cli.printing import shown_so_far


def progress_bars(*, shown: bool = True) -> Progress:
    """Bars of what is done; nothing is shown where standard error is no terminal.

    Args:
        shown: Whether there may be some; not while the terminal is printed on.
    """
    console = Console(stderr=True, soft_wrap=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not (shown and console.is_terminal),
        # What is asked for stays on standard output.
        redirect_stdout=False,
        redirect_stderr=False,
    )


def say(progress: Progress, text: str) -> None:
    """Say something on standard error, above the bars, and after what is printed already."""
    shown_so_far()
    progress.console.print(Text(text), soft_wrap=True)
