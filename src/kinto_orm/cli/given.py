"""What a command is given: as an argument, in a file, or on standard input."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pydantic import JsonValue

from kinto_orm.cli.failing import Misuse

STDIN = "-"
_MUST_BE_JSON = ("{", "[", '"')


def text_of(source: str) -> str:
    """The text of a file, or of standard input for `-`, to the letter.

    Raises:
        Misuse: It cannot be read, or is no UTF-8.
    """
    if not source:
        raise Misuse("no file is named: give its name, or - for standard input. Nothing was sent")
    try:
        found = sys.stdin.buffer.read() if source == STDIN else Path(source).read_bytes()
        return found.decode("utf-8")
    except OSError as error:
        raise Misuse(f"{source} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise Misuse(f"{_named(source)} is no text in UTF-8: {error}") from None


def value_of(text: str, source: str) -> JsonValue:
    """A value as it is written: JSON where it is JSON, else a text.

    What begins as an object, a list or a text of JSON has to be that: one sign too few must not
    make a text of it.

    Args:
        text: What is written; a line break at its end is none of a text's.
        source: Where it is from, for errors.

    Raises:
        Misuse: It begins as JSON and is none.
    """
    try:
        return json_of(text, source)
    except Misuse:
        if text.lstrip().startswith(_MUST_BE_JSON):
            raise
        return text.removesuffix("\n").removesuffix("\r")


def json_of(text: str, source: str) -> JsonValue:
    """A JSON value.

    Raises:
        Misuse: It is none, or has a name twice in one object.
    """
    try:
        found: JsonValue = json.loads(
            text, object_pairs_hook=_without_doubles, parse_constant=_refuse_constant
        )
    except json.JSONDecodeError as error:
        raise Misuse(
            f"{_named(source)} is no JSON: {error}; with --text it is taken as a text"
        ) from None
    except (ValueError, RecursionError) as error:
        raise Misuse(f"{_named(source)} is no JSON that can be kept: {error}") from None
    return found


def _without_doubles(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} is there twice")
    return found


def _refuse_constant(name: str) -> JsonValue:
    raise ValueError(f"{name} is no JSON")


def _named(source: str) -> str:
    return "standard input" if source == STDIN else source
