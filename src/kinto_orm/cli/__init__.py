"""The command line, `kinto-orm`; it needs the extra `cli`.

Over the public API only: what it does, a program can do in the same words.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from contextlib import suppress
from typing import NoReturn


def main() -> None:
    """Run the command that the program's arguments name.

    Ctrl-C may come before the command begins, and standard output be full of what the help says.
    """
    try:
        _run()
    except KeyboardInterrupt:
        _end("interrupted", 130)
    except BrokenPipeError:
        _end(None, 141)
    except OSError as error:
        _end(f"cannot write to standard output: {error.strerror}", 1)


def _run() -> None:
    _need("typer", "rich", "tomlkit", "yaml")
    _open_closed()
    from kinto_orm.cli.app import app

    try:
        app(prog_name="kinto-orm")
    except SystemExit as end:
        _flush(end)


def _flush(end: SystemExit) -> NoReturn:
    """Write what Python still holds, while one may say that it failed."""
    try:
        sys.stdout.flush()
    except OSError:
        if not end.code:
            raise
        _end(None, int(end.code))  # why was said already
    raise end


def _need(*modules: str) -> None:
    missing = [each for each in modules if importlib.util.find_spec(each) is None]
    if missing:
        _end(
            f"the command line needs {' and '.join(missing)}: pip install 'kinto-orm[cli]'",
            2,
        )


def _end(text: str | None, status: int) -> NoReturn:
    """Say a line on standard error, and end: nothing else is written, and nothing can fail."""
    with suppress(OSError):
        if text is not None:
            print(f"kinto-orm: {text}", file=sys.stderr, flush=True)
    with suppress(OSError):
        # What Python still holds for standard output must not be tried again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(status)


def _open_closed() -> None:
    """Give the program the streams that it was started without, as by `1>&-`.

    What is written to standard output is lost then, and the command has failed.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # Of the number that it has in every program, so that no other file gets it.
            number = os.open(os.devnull, os.O_WRONLY if name == "stderr" else os.O_RDONLY)
            setattr(sys, name, open(number, mode, encoding="utf-8"))  # noqa: SIM115
