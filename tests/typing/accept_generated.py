"""Models of the bucket clinic."""

import datetime as dt
from typing import Literal
from uuid import UUID

from kinto_orm import Record
from pydantic import AnyUrl, BaseModel, ConfigDict, Field, JsonValue


def is_none(value: object) -> bool:
    """Whether a field is left out, as it may be missing and may not be null."""
    return value is None


class PetsOwner(BaseModel):
    """What is in owner of Pets."""

    model_config = ConfigDict(
        extra="allow",
        validate_by_name=True,
        validate_by_alias=True,
    )

    a_b: int | None = Field(
        default=None,
        exclude_if=is_none,
        validation_alias="a.b",
        serialization_alias="a.b",
    )
    name: str
    zip: int | None


class PetsPermissions(BaseModel):
    """What is in permissions of Pets."""

    model_config = ConfigDict(
        extra="allow",
        validate_by_name=True,
        validate_by_alias=True,
    )

    read: list[str] | None = Field(default=None, exclude_if=is_none)


class PetsVisitsItem(BaseModel):
    """What is in visits item of Pets."""

    model_config = ConfigDict(
        extra="allow",
        validate_by_name=True,
        validate_by_alias=True,
    )

    cost: int | None = Field(default=None, exclude_if=is_none)
    on: dt.date
    why: str | None = Field(default=None, exclude_if=is_none)


class Pets(Record, collection="pets"):
    """Records of the collection pets."""

    field_1st: list[int | str | None] = Field(
        validation_alias="1st",
        serialization_alias="1st",
    )
    x: dict[str, JsonValue] | None = Field(
        default=None,
        exclude_if=is_none,
        validation_alias="_x",
        serialization_alias="_x",
    )
    a_b: int | str = Field(validation_alias="a b", serialization_alias="a b")
    a_b_: int | None = Field(
        default=None,
        exclude_if=is_none,
        validation_alias="a-b",
        serialization_alias="a-b",
    )
    big: int | float
    born: dt.date
    chip: UUID
    class_: str = Field(validation_alias="class", serialization_alias="class")
    gone: JsonValue
    größe: int
    list_: list[list[float]] = Field(
        validation_alias="list",
        serialization_alias="list",
    )
    field_model_dump_x: int | None = Field(
        default=None,
        exclude_if=is_none,
        validation_alias="model_dump_x",
        serialization_alias="model_dump_x",
    )
    name: str | None
    owner: PetsOwner
    permissions_: PetsPermissions = Field(
        validation_alias="permissions",
        serialization_alias="permissions",
    )
    save_: bool = Field(validation_alias="save", serialization_alias="save")
    say_hi: str | None = Field(
        default=None,
        exclude_if=is_none,
        validation_alias='say "hi"',
        serialization_alias='say "hi"',
    )
    seen: dt.datetime
    visits: list[PetsVisitsItem]
    weight: float


VetVisitsKind = Literal[
    "check",
    "surgery",
    "a kind whose name is long",
    "fever",
    "other",
]


class VetVisitsNested(BaseModel):
    """What is in nested of VetVisits."""

    model_config = ConfigDict(
        extra="allow",
        validate_by_name=True,
        validate_by_alias=True,
    )

    copy_: int | None = Field(
        default=None,
        exclude_if=is_none,
        validation_alias="copy",
        serialization_alias="copy",
    )


class Person(BaseModel):
    """What is in parent of VetVisits."""

    model_config = ConfigDict(
        extra="allow",
        validate_by_name=True,
        validate_by_alias=True,
    )

    boss: "Person | None" = Field(default=None, exclude_if=is_none)
    name: str
    parents: "list[Person] | None" = Field(default=None, exclude_if=is_none)


class VetVisits(Record, collection="vet-visits"):
    """Records of the collection vet-visits."""

    at_: dt.datetime | None = Field(
        default=None,
        validation_alias="at",
        serialization_alias="at",
    )
    counts: dict[str, int] | None = Field(default=None, exclude_if=is_none)
    day: dt.date | None = Field(default=None, exclude_if=is_none)
    done: bool = False
    free: JsonValue = None
    kind: VetVisitsKind
    mail: str | None = Field(default=None, exclude_if=is_none)
    nested: VetVisitsNested | None = Field(default=None, exclude_if=is_none)
    note: str | None = None
    parent: Person | None = Field(default=None, exclude_if=is_none)
    price: float | None = Field(default=None, exclude_if=is_none)
    short: Literal["a", 1] | None = None
    site: AnyUrl | None = Field(default=None, exclude_if=is_none)
    tags: list[str]
