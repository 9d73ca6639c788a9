"""`template`: Jinja2 templates, rendered from the key values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import JsonValue
from typer import Argument, Context, Option

from kinto_orm import InvalidData, Template
from kinto_orm.cli import completing
from kinto_orm.cli.failing import Misuse
from kinto_orm.cli.given import json_of, text_of, value_of
from kinto_orm.cli.printing import tell
from kinto_orm.cli.settings import settings_of
from kinto_orm.cli.unfit import Unfit, is_unfit

Name = Annotated[
    str,
    Argument(
        metavar="NAME",
        help="The template's name: any text",
        autocompletion=completing.templates,
    ),
]


def list_(ctx: Context) -> None:
    """List the templates by name.

    Examples:
        kinto-orm template list
        kinto-orm template list --json
    """
    settings = settings_of(ctx)
    with settings.session(reads=True):
        # One that cannot be loaded is there, too.
        found = Unfit().kept(Template.find())
        settings.output.rows(({"name": each.name} for each in found), ("name",))


def get(ctx: Context, name: Name) -> None:
    """Print a template's source to the letter; with --json as a JSON text.

    Examples:
        kinto-orm template get nginx.conf > nginx.conf.j2
    """
    settings = settings_of(ctx)
    with settings.session(reads=True):
        source = Template.get(name).source
        settings.output.value(source) if settings.as_json else settings.output.text(source)


def set(
    ctx: Context,
    name: Name,
    file: Annotated[str, Argument(metavar="FILE", help="The source; - reads standard input")],
    force: Annotated[
        bool, Option("--force", help="Also over what somebody else has just changed")
    ] = False,
) -> None:
    """Store a template; its syntax is checked first.

    An empty source is one, too: it renders as nothing, and what was there before stays in the
    history.

    Examples:
        kinto-orm template set nginx.conf nginx.conf.j2
        echo 'Good morning, {{ user.name }}' | kinto-orm template set motd -
    """
    source = text_of(file)
    with settings_of(ctx).session(makes=True):
        template = Template.get_or_none(name)
        if template is None:
            template = Template(name=name, source=source)
        template.source = source
        if not template.is_new and not template.diff():
            tell(f"template {name!r} is the same already")
        template.save(force=force)


def delete(ctx: Context, name: Name) -> None:
    """Delete a template.

    Examples:
        kinto-orm template del motd
    """
    with settings_of(ctx).session():
        _found(name).delete()


def _found(name: str) -> Template:
    """A template; one that cannot be loaded has its id only."""
    try:
        return Template.get(name)
    except InvalidData as error:
        if not is_unfit(error):
            raise
    id = Template(name=name, source="").id
    return Template.find(Template.id == id).only("id").one()


def render(
    ctx: Context,
    name: Name,
    var: Annotated[
        list[str] | None,
        Option(metavar="KEY=VALUE", help="Instead of the stored root key; JSON or a text"),
    ] = None,
    overrides: Annotated[
        str | None, Option(help="The same as a JSON object: itself, a file, or - for the input")
    ] = None,
    file: Annotated[str | None, Option(help="Render this source, not the stored one")] = None,
    undefined: Annotated[
        Literal["strict", "lenient"], Option(help="What a missing value is: an error, or nothing")
    ] = "strict",
    trusted: Annotated[
        bool, Option("--trusted", help="In this process, without limits: only for your own")
    ] = False,
) -> None:
    """Print what a template makes of the key values.

    Examples:
        kinto-orm template render nginx.conf > /etc/nginx/nginx.conf
        kinto-orm template render motd --var greeting=Hello --var 'ports=[80, 81]'
        kinto-orm template render motd --overrides values.json
        kinto-orm template render motd --file motd.j2   before it is stored
    """
    settings = settings_of(ctx)
    given = _overrides(overrides) | _variables(var or ())
    written = None if file is None else text_of(file)
    with settings.session(reads=True):
        template = Template.get(name) if written is None else Template(name=name, source=written)
        isolation: Literal["none", "process"] = "none" if trusted else "process"
        text = template.render(given, undefined=undefined, isolation=isolation)
    settings.output.value(text) if settings.as_json else settings.output.text(text)


def _variables(given: Sequence[str]) -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = {}
    for each in given:
        key, equals, value = each.partition("=")
        if not key or not equals:
            raise Misuse(f"--var {each}: write KEY=VALUE, such as --var greeting=Hello")
        found[key] = value_of(value, f"the value of --var {key}")
    return found


def _overrides(given: str | None) -> dict[str, JsonValue]:
    if given is None:
        return {}
    is_json = given.lstrip().startswith("{")
    found = json_of(given if is_json else text_of(given), "--overrides" if is_json else given)
    if not isinstance(found, dict):
        raise Misuse("--overrides takes a JSON object of values by root key")
    return found
