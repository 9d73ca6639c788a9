"""Files of dumps: which format one has, and that none is whole before its dump is."""

from __future__ import annotations

import os
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

    It gets its name when all of it is written, and is gone when that fails.
    """
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise Misuse(f"cannot write to {path}: {error.strerror}") from None
    try:
        with open(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(handle)
        Path(name).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise


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
