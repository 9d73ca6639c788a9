"""The models that the other files use."""

from datetime import datetime

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


class Counter(Record, collection="counters", extra="forbid"):
    count: int = Field(0, ge=0)
    label: str = Field(default="", max_length=9)


class Named(Record, collection="named"):
    name: str = Field(min_length=1)


class Urgent(Todo, collection="urgent"):
    until: datetime
