"""Links to other objects: stored as ids, fetched when they are wanted.

A link looks nothing up by itself. To Pydantic it is a text in JSON, so that all that compares what
is stored (what changed, conflicts, merging) sees the id, and whether it was fetched is no change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, Any, Generic, TypeGuard, TypeVar, get_args, get_origin

from pydantic import BaseModel, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation
from pydantic_core import CoreSchema, SchemaSerializer, core_schema

from kinto_orm.errors import InvalidData, ModelError
from kinto_orm.models.declaring import alternatives, has_links, is_link, link_error, link_id_error
from kinto_orm.models.naming import FromOutside
from kinto_orm.models.state import state_of
from kinto_orm.models.stored import Stored
from kinto_orm.wire.awaiting import arun
from kinto_orm.wire.driving import run
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.messages import segment
from kinto_orm.wire.scope import Scope, chosen

M = TypeVar("M", bound=Stored)
S = TypeVar("S", bound=Stored)


class Link(Generic[M]):
    """A link to another object, which is stored as that object's id.

    It equals another link to the same object, that object itself, and its id as a text, as a
    condition does. Objects are the same that are stored in one place under one id, by whichever
    of several classes the link leads there.

    Args:
        model: The class of the object. It says where the object lives.
        id: The object's id.

    Raises:
        InvalidData: No object can have this id.
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
        segment(id, model.__kinto_kind__)
        self.__setstate__((model, id, None))

    if not TYPE_CHECKING:

        def __class_getitem__(cls, model):
            """The type of links to objects of a class; also of one that is not there yet."""
            if isinstance(model, type):
                _check_target(model)
            return super().__class_getitem__(model)

        def __getattr__(self, name):
            """Say how to come to what is linked; checkers know the names by themselves."""
            if name.startswith("_") or name not in self._model.model_fields:
                raise AttributeError(f"a Link has no {name!r}")
            raise AttributeError(
                f"{self!r} is a link, and {name!r} is of what it leads to: write "
                f".fetch().{name}, which asks the server (.afetch() with an AsyncSession), or "
                f".loaded.{name} once it was fetched, as by prefetch()"
            )

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
            return self._id == other._id and _are_together(self._model, other._model)
        if isinstance(other, str):
            return self._id == other
        return (
            isinstance(other, Stored)
            and self._id == other.id
            and _are_together(self._model, type(other))
        )

    def __hash__(self) -> int:
        return hash(self._id)

    def __repr__(self) -> str:
        return f"Link({self._model.__name__}, {self._id!r})"

    # The object is no part of what holds the link: a copy leads to the same one.

    def __copy__(self) -> Link[M]:
        made = _made(self._model, self._id)
        made.__kinto_take__(self._loaded)
        made.__kinto_reached__(self._scope)
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
            wrong = complaint_of_id(model, value)
            if wrong:
                raise link_id_error(wrong)
        return stored(value)

    def stored(value: Any) -> Link[Any]:
        if isinstance(value, str):
            return _made(model, str.__str__(value))
        if isinstance(value, Link) and issubclass(value.model, model):
            return value if value.model is model else _as_of(model, value)
        if isinstance(value, model):
            return _link_to(model, value)
        raise link_error(model, value)

    def write(value: Any) -> str:
        # A condition may name the object by another class of the same place, as Python may.
        return value.id if _is_of_place(value, model) else read(value).id

    return core_schema.no_info_plain_validator_function(
        FromOutside(read, stored),
        json_schema_input_schema=text,
        serialization=core_schema.plain_serializer_function_ser_schema(
            write, return_schema=text, when_used="json"
        ),
        metadata={"kinto_link": True},
    )


def complaint_of_id(model: type[Stored], id: str) -> str | None:
    """Why no object of a class can have this id; None: one can."""
    try:
        segment(id, model.__kinto_kind__)
    except InvalidData as error:
        return str(error).removesuffix(" Nothing was sent.")
    return None


def _made(model: type[M], id: str) -> Link[M]:
    """A link, also by an id that the server has and no object can have."""
    made: Link[M] = Link.__new__(Link)
    made.__setstate__((model, id, None))
    return made


def _is_of_place(value: Any, model: type[Stored]) -> TypeGuard[Link[Any] | Stored]:
    """Whether a link or an object is stored where objects of a class are."""
    if not isinstance(value, Link | Stored):
        return False
    return _are_together(value.model if isinstance(value, Link) else type(value), model)


def _are_together(one: type[Stored], other: type[Stored]) -> bool:
    """Whether objects of two classes are stored in one place."""
    return one is other or one.__kinto_stored_in__() == other.__kinto_stored_in__()


def _link_to(model: type[M], target: M) -> Link[M]:
    made = _made(model, target.id)
    made.__kinto_take__(target)
    made.__kinto_reached__(state_of(target).scope)
    return made


def _as_of(model: type[M], link: Link[Any]) -> Link[M]:
    """The same link as a field of links to a base class holds it."""
    made = _made(model, link.id)
    made.__kinto_take__(link.loaded)
    made.__kinto_reached__(link.__kinto_scope__)
    return made


# The links that an object holds


def links_of(stored: Stored, names: Iterable[str]) -> Iterator[Link[Any]]:
    """The links in some fields of an object, by Python names; also those inside of containers."""
    for name in names:
        yield from links_in(stored.__dict__.get(name))


def links_in(value: Any) -> Iterator[Link[Any]]:
    """The links in a value, also those inside of containers and models."""
    if isinstance(value, Link):
        yield value
    elif isinstance(value, BaseModel):
        yield from links_in(value.__dict__)
    elif isinstance(value, dict):
        for each in value.values():
            yield from links_in(each)
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from links_in(each)


def read_items(stored: Stored) -> None:
    """Make links of what was put into lists, sets and dicts of links since.

    Raises:
        InvalidData: One cannot be a link; it names the place.
    """
    for name, model in _item_classes(type(stored)).items():
        held = stored.__dict__.get(name)
        if isinstance(held, list | set | dict):
            _read_into(held, model, f"{stored.__kinto_name__}: {name}")


def _item_classes(model: type[Stored]) -> dict[str, type[Stored]]:
    """By field: the class to whose objects its items link."""
    found: dict[str, type[Stored]] | None = model.__kinto_cache__.get("link_items")
    if found is None:
        names = link_fields(model)
        classes = {name: _item_class(model.model_fields[name].annotation) for name in names}
        found = {name: each for name, each in classes.items() if each is not None}
        model.__kinto_cache__["link_items"] = found
    return found


def _item_class(annotation: Any) -> type[Stored] | None:
    """The one class to whose objects the items of a field link."""
    for each in alternatives(annotation):
        if get_origin(each) in (list, set, dict):
            items = [part for part in alternatives(get_args(each)[-1]) if part is not NoneType]
            return _target(items[0]) if len(items) == 1 and is_link(items[0]) else None
    return None


def _read_into(held: Any, model: type[Stored], where: str) -> None:
    """Read the items of a container in place."""
    for place, item in list(held.items()) if isinstance(held, dict) else list(enumerate(held)):
        if item is None or (isinstance(item, Link) and item.model is model):
            continue
        try:
            link = _adapter(model).validate_python(item)
        except ValidationError as error:
            said = error.errors(include_url=False)[0]["msg"]
            raise InvalidData(f"{where}.{place}: {said}. Nothing was sent.") from None
        if isinstance(held, set):
            held.remove(item)
            held.add(link)
        else:
            held[place] = link


@cache
def _adapter(model: type[Stored]) -> TypeAdapter[Any]:
    return TypeAdapter(Link[model])  # type: ignore[valid-type]


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
