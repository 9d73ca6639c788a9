"""The program: its options, and its commands by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from typer import Context, Exit, Option, Typer

from kinto_orm import __version__
from kinto_orm.cli import (
    browsing,
    completing,
    copying,
    doctor,
    finding,
    granting,
    info,
    keys,
    login,
    objects,
    putting,
    removing,
    restoring,
    schema,
    serving,
    templating,
    watching,
)
from kinto_orm.cli.commands import Command, Commands, ServerCommand
from kinto_orm.cli.dump import dump
from kinto_orm.cli.load import load
from kinto_orm.cli.models import models
from kinto_orm.cli.settings import Settings

app = Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_COMMANDS: dict[str, Callable[..., None]] = {
    "ls": objects.ls,
    "get": objects.get,
    "find": finding.find,
    "put": putting.put,
    "patch": putting.patch,
    "rm": removing.rm,
    "cp": copying.cp,
    "mv": copying.mv,
    "perms": granting.perms,
    "watch": watching.watch,
    "history": restoring.history,
    "diff": restoring.diff,
    "restore": restoring.restore,
    "dump": dump,
    "load": load,
    "models": models,
    "schema plan": schema.plan,
    "schema apply": schema.apply,
    "kv list": keys.list_,
    "kv get": keys.get,
    "kv set": keys.set,
    "kv del": keys.delete,
    "template list": templating.list_,
    "template get": templating.get,
    "template set": templating.set,
    "template del": templating.delete,
    "template render": templating.render,
    "serve": serving.serve,
    "browse": browsing.browse,
    "login": login.login,
    "info": info.info,
    "account": info.account,
    "doctor": doctor.doctor,
}

_FAMILIES = {
    "schema": "Compare collections' schemas with models, and write them.",
    "kv": "Values by key path, on a Kinto or a kvp.io server.",
    "template": "Templates, rendered from the key values, on a Kinto or a kvp.io server.",
}

_families = {name: Typer(help=text, no_args_is_help=True) for name, text in _FAMILIES.items()}
for name, family in _families.items():
    app.add_typer(family, name=name)
for words, command in _COMMANDS.items():
    above, _, name = words.rpartition(" ")
    kind = ServerCommand if command is serving.serve else Command
    _families.get(above, app).command(name, cls=kind)(command)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"kinto-orm {__version__}")
        raise Exit


@app.callback()
def options(
    ctx: Context,
    server: Annotated[str | None, Option(help="URL: https://host/v1, sqlite:///file.db")] = None,
    auth: Annotated[str | None, Option(help="user:password, or 'Bearer token'")] = None,
    bucket: Annotated[
        str | None,
        Option(help="The bucket of short targets", autocompletion=completing.buckets),
    ] = None,
    collection: Annotated[
        str | None,
        Option(help="The default collection", autocompletion=completing.collections),
    ] = None,
    profile: Annotated[
        str | None,
        Option(help="A name in ~/.config/kinto-orm.toml", autocompletion=completing.profiles),
    ] = None,
    as_json: Annotated[bool, Option("--json", help="One JSON value in each line")] = False,
    version: Annotated[
        bool,
        Option("--version", callback=_version, is_eager=True, help="Print the version"),
    ] = False,
) -> None:
    """See, change, move and check data in a Kinto server."""
    ctx.obj = Settings(server, auth, bucket, collection, profile, as_json)
