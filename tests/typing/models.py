"""The models that the other files use."""

from datetime import datetime
from enum import Enum, IntEnum, StrEnum
from typing import Literal

from pydantic import BaseModel, Field

from kinto_orm import Record


class Address(BaseModel):
    city: str


class Todo(Record, collection="todos"):
    title: str
    done: bool = False
    due: datetime | None = None
    tags: list[str] = []
    prio: int = 0
    address: Address | None = None
    nick: str | None = Field(
        default=None, validation_alias="nickName", serialization_alias="nickName"
    )


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Size(StrEnum):
    L = "l"
    XL = "xl"


class Level(IntEnum):
    LOW = 1
    HIGH = 10


class Shirt(Record, collection="shirts"):
    color: Color = Color.RED
    size: Size = Size.L
    level: Level = Level.LOW
    cut: Literal["slim", "wide"] = "slim"
    sizes: list[Size] = []
    trim: Color | None = None


class Counter(Record, collection="counters", extra="forbid"):
    count: int = Field(0, ge=0)
    label: str = Field(default="", max_length=9)


class Named(Record, collection="named"):
    name: str = Field(min_length=1)


class Urgent(Todo, collection="urgent"):
    until: datetime
