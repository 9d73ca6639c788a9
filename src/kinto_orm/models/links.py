"""Links to other objects: stored as ids, fetched when they are wanted.

A link looks nothing up by itself. To Pydantic it is a text in JSON, so that all that compares what
is stored (what changed, conflicts, merging) sees the id, and whether it was fetched is no change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic.errors import PydanticUndefinedAnnotation
from pydantic_core import CoreSchema, SchemaSerializer, core_schema

from kinto_orm.errors import InvalidData, ModelError
from kinto_orm.models.declaring import has_links, link_error
from kinto_orm.models.expressions import LinkColumn
from kinto_orm.models.state import state_of
from kinto_orm.models.stored import Stored
from kinto_orm.queries.conditions import Column, Condition
from kinto_orm.queries.query import Query
from kinto_orm.wire.awaiting import arun
from kinto_orm.wire.driving import run
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.scope import Scope, chosen

M = TypeVar("M", bound=Stored)
S = TypeVar("S", bound=Stored)


class Link(Generic[M]):
    """A link to another object, which is stored as that object's id.

    It equals another link to the same object, that object itself, and its id as a text, as a
    condition does.

    Args:
        model: The class of the object. It says where the object lives.
        id: The object's id. It is checked when it is used.
    """

    __slots__ = ("_id", "_loaded", "_model", "_scope")

    # What tells a link from other types where this module cannot be imported.
    __kinto_link__ = True

    # How it is written where no type is declared.
    __pydantic_serializer__ = SchemaSerializer(
        core_schema.any_schema(
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda link: link.id, when_used="json"
            )
        )
    )

    _model: type[M]
    _id: str
    _loaded: M | None
    _scope: Scope | None

    def __init__(self, model: type[M], id: str) -> None:
        self.__setstate__((model, id, None))

    if not TYPE_CHECKING:

        def __class_getitem__(cls, model):
            """The type of links to objects of a class; also of one that is not there yet."""
            if isinstance(model, type):
                _check_target(model)
            return super().__class_getitem__(model)

    else:
        # To checkers it is a descriptor, so that an object or an id may be assigned.

        def __get__(self, instance: object, owner: Any = None, /) -> Link[M]:
            return self

        # None is for the optional ones: Pyright asks each part of a union.
        def __set__(self, instance: object, value: M | Link[M] | str | None, /) -> None: ...

    @classmethod
    def to(cls, target: S) -> Link[S]:
        """A link to an object, which need not be saved yet.

        Args:
            target: The object; it counts as fetched.
        """
        if not isinstance(target, Stored):
            raise TypeError(f"Link.to takes an object that can be stored, not {target!r:.80}")
        return _link_to(type(target), target)

    @property
    def id(self) -> str:
        """The id of the object."""
        return self._id

    @property
    def model(self) -> type[M]:
        """The class of the object."""
        return self._model

    @property
    def loaded(self) -> M | None:
        """The object as it was fetched last; None until then, and when there is none.

        Nothing is sent.
        """
        return self._loaded

    def fetch(self, *, session: Scope | None = None) -> M:
        """Fetch the object (`GET`), also when it was fetched before.

        Args:
            session: Which session to use; by default that of the object that holds the link.

        Returns:
            The object, which is `loaded` from then on.

        Raises:
            NotFound: There is none.
        """
        scope = self._scope_for(session)
        return run(scope, fetching(self, scope))

    async def afetch(self, *, session: Scope | None = None) -> M:
        """`fetch`, awaited."""
        scope = self._scope_for(session)
        return await arun(scope, fetching(self, scope))

    def _scope_for(self, given: Scope | None) -> Scope:
        bound = self._model.__kinto_session__
        return chosen(given, self._scope, bound, needed_for=f"to fetch {self!r}")

    @property
    def __kinto_scope__(self) -> Scope | None:
        """Over which session the object is reached, as far as that is known."""
        return self._scope

    def __kinto_take__(self, found: M | None) -> None:
        """Remember what was fetched."""
        self._loaded = found

    def __kinto_reached__(self, scope: Scope | None) -> None:
        """Say over which session the object is reached, where that was not known."""
        self._scope = self._scope or scope

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Link):
            return self._model is other._model and self._id == other._id
        if isinstance(other, str):
            return self._id == other
        return isinstance(other, self._model) and self._id == other.id

    def __hash__(self) -> int:
        return hash(self._id)

    def __repr__(self) -> str:
        return f"Link({self._model.__name__}, {self._id!r})"

    # The object is no part of what holds the link: a copy leads to the same one.

    def __copy__(self) -> Link[M]:
        made = Link(self._model, self._id)
        made._loaded, made._scope = self._loaded, self._scope
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Link[M]:
        return self.__copy__()

    def __getstate__(self) -> tuple[type[M], str, M | None]:
        return self._model, self._id, self._loaded

    def __setstate__(self, kept: tuple[type[M], str, M | None]) -> None:
        self._model, self._id, self._loaded = kept
        self._scope = None

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return _schema(_target(source))


def fetching(link: Link[M], scope: Scope) -> Flow[M]:
    """Fetch the object of a link.

    Raises:
        NotFound: There is none; then none is loaded, either.
    """
    link.__kinto_take__(None)
    found = yield from link.model.__kinto_get__(scope, link.id)
    link.__kinto_take__(found)
    return found


# As a type of fields


def _target(source: Any) -> type[Stored]:
    """The class to whose objects a type of links leads."""
    found = next(iter(get_args(source)), None)
    if isinstance(found, TypeVar):
        found = found.__bound__ or Stored  # until the model is given the class
    if isinstance(found, type):
        return _check_target(found)
    if found is None:
        raise ModelError("a Link needs the class to which it leads, as in Link[Author]")
    name = getattr(found, "__forward_arg__", str(found))
    raise PydanticUndefinedAnnotation(name, f"{name!r} of Link[{name!r}] is not defined")


def _check_target(model: type[Any]) -> type[Stored]:
    if not issubclass(model, Stored) or model.__kinto_title__ != "id":
        raise ModelError(
            f"there is no Link[{model.__name__}]: a link leads to objects that are got by their "
            "id, such as those of a class of records"
        )
    return model


def _schema(model: type[Stored]) -> CoreSchema:
    """How a field reads and writes its links."""
    text = core_schema.str_schema()

    def read(value: Any) -> Link[Any]:
        if isinstance(value, str):
            return Link(model, str.__str__(value))
        if isinstance(value, Link) and issubclass(value.model, model):
            return value if value.model is model else _as_of(model, value)
        if isinstance(value, model):
            return _link_to(model, value)
        raise link_error(model, value)

    def write(value: Any) -> str:
        return read(value).id

    return core_schema.no_info_plain_validator_function(
        read,
        json_schema_input_schema=text,
        serialization=core_schema.plain_serializer_function_ser_schema(
            write, return_schema=text, when_used="json"
        ),
        metadata={"kinto_link": True},
    )


def _link_to(model: type[M], target: M) -> Link[M]:
    made = Link(model, target.id)
    made.__kinto_take__(target)
    made.__kinto_reached__(state_of(target).scope)
    return made


def _as_of(model: type[M], link: Link[Any]) -> Link[M]:
    """The same link as a field of links to a base class holds it."""
    made = Link(model, link.id)
    made.__kinto_take__(link.loaded)
    made.__kinto_reached__(link.__kinto_scope__)
    return made


# The links that an object holds


def links_of(stored: Stored, names: Iterable[str]) -> Iterator[Link[Any]]:
    """The links in some fields of an object, by Python names; also those inside of containers."""
    for name in names:
        yield from _links_in(stored.__dict__.get(name))


def _links_in(value: Any) -> Iterator[Link[Any]]:
    if isinstance(value, Link):
        yield value
    elif isinstance(value, BaseModel):
        yield from _links_in(value.__dict__)
    elif isinstance(value, dict):
        for each in value.values():
            yield from _links_in(each)
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from _links_in(each)


def link_fields(model: type[Stored]) -> tuple[str, ...]:
    """The Python names of the fields that hold links."""
    found: tuple[str, ...] | None = model.__kinto_cache__.get("links")
    if found is None:
        model.model_rebuild()
        fields = model.model_fields.items()
        found = tuple(name for name, info in fields if has_links(info.annotation))
        model.__kinto_cache__["links"] = found
    return found


def reach(found: Iterable[Stored], scope: Scope | None) -> None:
    """Let the links of objects of one class be fetched over the session of these."""
    names: tuple[str, ...] | None = None
    for each in found:
        names = link_fields(type(each)) if names is None else names
        if not names:
            return
        for link in links_of(each, names):
            link.__kinto_reached__(scope)


def lead_elsewhere(copied: Stored, scope: Scope) -> None:
    """Let the links of a copy lead to what is in another scope; nothing of it was fetched yet."""
    for link in links_of(copied, link_fields(type(copied))):
        link.__setstate__((link.model, link.id, None))
        link.__kinto_reached__(scope)


class Linked:
    """What links make of every stored object."""

    @classmethod
    def __kinto_links__(cls, found: Iterable[Any], names: Iterable[str]) -> list[Any]:
        """The links of some fields of objects that were found."""
        return [link for each in found for link in links_of(each, names)]

    @classmethod
    def __kinto_check_link__(cls: Any, name: str) -> None:
        """Refuse a field that holds no links.

        Raises:
            InvalidData: It says which ones do.
        """
        if name not in link_fields(cls):
            others = ", ".join(link_fields(cls)) or "none"
            raise InvalidData(
                f"{cls.__name__}.{name} holds no links (those that do: {others}). Nothing was sent."
            )

    def backlinks(self: Any, field: object, /) -> Query[Any]:
        """A query over the objects that link here by a field: `author.backlinks(Todo.author)`.

        Nothing is sent yet. Checkers do not know the class from its field: where they should,
        write `Todo.find(Todo.author == author)`, which asks the same.

        Args:
            field: A link, or a list of links, on the class that links here.

        Raises:
            InvalidData: The field does not link here.
        """
        if not isinstance(field, Column):
            raise TypeError(f"backlinks() takes a field of a model class, not {field!r:.80}")
        if not isinstance(field, LinkColumn) or field.model is None:
            raise InvalidData(
                f"{field!r} is neither a link nor a list of links on a class. Nothing was sent."
            )
        condition: Condition = field.has(self) if field.many else field == self
        return Query[Any](field.model, state_of(self).scope).where(condition)
