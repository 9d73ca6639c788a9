"""`kv`: values by key path."""

from __future__ import annotations

from typing import Annotated

from pydantic import JsonValue
from typer import Argument, Context, Option

from kinto_orm.cli import completing
from kinto_orm.cli.failing import Misuse
from kinto_orm.cli.given import STDIN, text_of, value_of
from kinto_orm.cli.settings import settings_of

_PATH = "A root key, and the way down into its value: site/ports/0"
Path = Annotated[str, Argument(metavar="PATH", help=_PATH, autocompletion=completing.keys)]


def list_(
    ctx: Context,
    prefix: Annotated[str, Argument(help="Only keys that begin with it")] = "",
    values: Annotated[bool, Option("--values", help="Their values, too")] = False,
) -> None:
    """List the root keys.

    Examples:
        kinto-orm kv list
        kinto-orm kv list site
        kinto-orm kv list --values --json
    """
    settings = settings_of(ctx)
    with settings.session(reads=True) as session:
        if values:
            pairs = ({"key": key, "value": value} for key, value in session.kv.items(prefix))
            settings.output.rows(pairs, ("key", "value"))
        else:
            settings.output.rows(({"key": key} for key in session.kv.keys(prefix)), ("key",))


def get(ctx: Context, path: Path) -> None:
    """Print a value: a text as it is, all else as JSON; with --json always JSON.

    Examples:
        kinto-orm kv get site/ports/0
        kinto-orm kv get site --json | jq .host
    """
    settings = settings_of(ctx)
    with settings.session(reads=True) as session:
        value = session.kv[path]
        if isinstance(value, str) and not settings.as_json:
            settings.output.line(value)
        else:
            settings.output.value(value)


def set(
    ctx: Context,
    path: Path,
    value: Annotated[
        str | None, Argument(help="JSON, or a text that does not begin as JSON; - reads the input")
    ] = None,
    file: Annotated[str | None, Option(help="Take it from this file")] = None,
    text: Annotated[bool, Option("--text", help="Take it as a text, whatever it is")] = False,
) -> None:
    """Store a value; missing objects on the way are made.

    Examples:
        kinto-orm kv set site '{"host": "example.org", "ports": [80]}'
        kinto-orm kv set site/host example.org
        kinto-orm kv set site/ports/- 443       append to a list
        kinto-orm kv set temperature -- -5      what begins with a dash
        kinto-orm kv set site - < site.json
        kinto-orm kv set notes --file notes.md --text
    """
    stored = _value(value, file, as_text=text)
    with settings_of(ctx).session(makes=True) as session:
        session.kv.set(path, stored)


def delete(
    ctx: Context,
    path: Path,
    missing_ok: Annotated[
        bool, Option("--missing-ok", help="Be content when nothing is there")
    ] = False,
) -> None:
    """Remove a value and all below it; the items after one of a list move up.

    Examples:
        kinto-orm kv del site/ports/0
        kinto-orm kv del site --missing-ok
    """
    with settings_of(ctx).session() as session:
        session.kv.delete(path, missing_ok=missing_ok)


def _value(argument: str | None, file: str | None, *, as_text: bool) -> JsonValue:
    if (argument is None) == (file is None):
        raise Misuse("give the value, or - for standard input, or --file FILE")
    source = file or (STDIN if argument == STDIN else "the value")
    text = argument if argument not in (None, STDIN) else text_of(source)
    return text if as_text else value_of(text, source)
