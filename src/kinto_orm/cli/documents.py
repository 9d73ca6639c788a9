"""JSON that is given to a command: as its argument, or on standard input."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any, NoReturn

from pydantic import JsonValue
from typer import Argument, Option

from kinto_orm.cli.failing import Misuse
from kinto_orm.cli.targets import PERMISSIONS

Document = Annotated[
    str, Argument(metavar="JSON", help="""An object, such as '{"title": "x"}'; - reads it""")
]
Sets = Annotated[
    str | None, Option(metavar="JSON", help="""Who may do what: '{"read": ["system.Everyone"]}'""")
]


def object_of(text: str) -> dict[str, JsonValue]:
    """The JSON object that is given.

    Args:
        text: The object; "-": it is read from standard input.

    Raises:
        Misuse: It is none.
    """
    given = _parsed(_standard_input() if text == "-" else text)
    if not isinstance(given, dict):
        shown = f"{json.dumps(given, ensure_ascii=False):.80}"
        raise Misuse(f'a JSON object is needed, such as {{"title": "x"}}, not {shown}')
    return given


def sets_of(text: str | None, kind: str) -> dict[str, list[str]] | None:
    """The permissions that are given; None: none are.

    Args:
        text: A JSON object of lists; "-": it is read from standard input.
        kind: Of what they are, such as "buckets".

    Raises:
        Misuse: They are no lists of principals by the names of permissions.
    """
    if text is None:
        return None
    found: dict[str, list[str]] = {}
    for name, who in object_of(text).items():
        if name not in PERMISSIONS[kind]:
            allowed = ", ".join(PERMISSIONS[kind])
            raise Misuse(f"there is no permission {name!r} here, but {allowed}")
        if not isinstance(who, list) or not all(each and isinstance(each, str) for each in who):
            raise Misuse(f'a permission is a list of texts: {{{name!r}: ["system.Everyone"]}}')
        found[name] = [str(each) for each in who]
    return found


def _standard_input() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise Misuse(f"standard input is no text in {error.encoding}: {error.reason}") from None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise Misuse(f"this is no JSON: {error or 'it is nested too deep'}") from None


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"JSON has no {name}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} stands in an object twice")
    return found
