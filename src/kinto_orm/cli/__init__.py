"""The command line, `kinto-orm`; it needs the extra `cli`.

Over the public API only: what it does, a program can do in the same words.
"""

from __future__ import annotations

import importlib.util
import os
import sys


def main() -> None:
    """Run the command that the program's arguments name."""
    missing = [each for each in ("typer", "rich") if importlib.util.find_spec(each) is None]
    if missing:
        print(
            f"kinto-orm: the command line needs {' and '.join(missing)}: "
            "pip install 'kinto-orm[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)
    _open_closed()
    from kinto_orm.cli.app import app

    app(prog_name="kinto-orm")


def _open_closed() -> None:
    """Give the program the streams that it was started without, as by `1>&-`."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # Of the number that it has in every program, so that no other file gets it.
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
