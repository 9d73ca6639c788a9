"""A template as the renderer takes it, and what it is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from kinto_orm.models.contents import raw_of
from kinto_orm.models.record import Record

if TYPE_CHECKING:
    from kinto_orm.rendering import Document

Undefined = Literal["strict", "lenient"]
Isolation = Literal["none", "process"]


def name_and_source(template: Record) -> tuple[str, str]:
    """The name and the source of a template."""
    return str(template["name"]), str(template["source"])


def is_edited(template: Record) -> bool:
    """Whether its source is another one than the server has."""
    return template["source"] != raw_of(template).get("source")


def document_of(template: Record, name: str | None = None) -> Document:
    """What the renderer gets of it, under the name by which it was asked for."""
    from kinto_orm.rendering import Document

    own, source = name_and_source(template)
    return Document(name or own, source, None if is_edited(template) else template.last_modified)
