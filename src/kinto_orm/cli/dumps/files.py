"""Files of dumps: which format one has, and that none is whole before its dump is."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from kinto_orm.cli.failing import Misuse

FORMATS = ("ndjson", "csv", "parquet", "yaml")
TABLES = ("csv", "parquet")
"""The formats that have the records of one collection."""

_BY_SUFFIX = {
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "ndjson",
    ".csv": "csv",
    ".parquet": "parquet",
    ".yaml": "yaml",
    ".yml": "yaml",
}


def format_of(given: str | None, path: Path | None) -> str:
    """The format that was given, or that a file's name tells; else NDJSON.

    Raises:
        Misuse: There is no such format.
    """
    if given is None:
        return _BY_SUFFIX.get(path.suffix.lower(), "ndjson") if path else "ndjson"
    if given not in FORMATS:
        raise Misuse(f"--format is one of {', '.join(FORMATS)}, not {given!r}")
    return given


@contextmanager
def written(path: Path | None) -> Iterator[IO[bytes]]:
    """A file to write a dump to; None is standard output.

    A regular file gets its name when all of it is written, and stays as it was when that fails;
    behind a link, that is the link's target. Pipes and devices are written to as it comes.

    Raises:
        Misuse: It cannot be written to.
    """
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if path.exists() and not path.is_file():
        with _opened(path) as file:
            yield file
        return
    target = Path(os.path.realpath(path))
    mode = _mode_of(target)
    try:
        handle, name = tempfile.mkstemp(
            prefix=f".{target.name}.", suffix=".part", dir=target.parent
        )
    except OSError as error:
        raise Misuse(f"cannot write to {path}: {error.strerror}") from None
    try:
        with open(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(handle)
        if mode is not None:
            Path(name).chmod(mode)
        Path(name).replace(target)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def _opened(path: Path) -> IO[bytes]:
    """What is there and is no regular file, to be written to."""
    try:
        return path.open("wb")
    except OSError as error:
        raise Misuse(f"cannot write to {path}: {error.strerror}") from None


def _mode_of(path: Path) -> int | None:
    """The permissions of a file that is to be replaced; None where there is none.

    Raises:
        Misuse: It is not to be written to. That somebody may write to its directory is no leave.
    """
    if not path.exists():
        return None
    mode = stat.S_IMODE(path.stat().st_mode)
    if not (mode & 0o222 and os.access(path, os.W_OK)):
        raise Misuse(f"cannot write to {path}: it is read-only")
    return mode


@contextmanager
def read(path: Path | None) -> Iterator[IO[bytes]]:
    """A file to load from; None is standard input."""
    if path is None:
        yield sys.stdin.buffer
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise Misuse(f"cannot read {path}: {error.strerror}") from None
    with file:
        yield file
