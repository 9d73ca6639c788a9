"""`schema plan` and `schema apply`: collections' JSON schemas as the user's models have them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from typer import Argument, Context, Exit, Option

from kinto_orm import SchemaPlan
from kinto_orm.cli.failing import REFUSED
from kinto_orm.cli.importing import models_named
from kinto_orm.cli.settings import settings_of

_Models = Annotated[str, Argument(metavar="MODULE:MODEL", help="Or MODULE:ONE,OTHER")]


def plan(
    ctx: Context,
    models: _Models,
    check: Annotated[
        bool, Option("--check", help="Exit with 1 when there is anything to do")
    ] = False,
) -> None:
    """Print what `schema apply` would do, and how many stored records do not fit the model.

    Examples:
        kinto-orm schema plan todo.models:Todo --bucket work
        kinto-orm schema plan todo.models:Todo,Note --check
    """
    if _sync(ctx, models, dry_run=True) and check:
        raise Exit(REFUSED)


def apply(ctx: Context, models: _Models) -> None:
    """Make the bucket, the collection and the JSON schema of each model; print what was done.

    Examples:
        kinto-orm schema apply todo.models:Todo --bucket work
    """
    _sync(ctx, models, dry_run=False)


def _sync(ctx: Context, models: str, *, dry_run: bool) -> SchemaPlan:
    settings = settings_of(ctx)
    wanted = models_named(models)
    with settings.session(makes=not dry_run, plans=dry_run) as session:
        done = session.sync_schema(*wanted, dry_run=dry_run)
    for each in done:
        if settings.as_json:
            settings.output.value(asdict(each))
        else:
            settings.output.line(str(each))
    return done
