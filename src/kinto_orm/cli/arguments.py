"""Arguments that several commands take."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from kinto_orm.cli import completing

TARGET_HELP = "collection, collection/record, or a path /buckets/..."
TargetText = Annotated[
    str, Argument(metavar="TARGET", help=TARGET_HELP, autocompletion=completing.targets)
]
