"""Templates: Jinja2 sources kept on the server, rendered from the values of its keys."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, Self
from weakref import WeakKeyDictionary

from pydantic import JsonValue, model_validator

from kinto_orm import keypath
from kinto_orm.conditions import col
from kinto_orm.errors import Conflict, InvalidData, ModelError, NotFound, PathError
from kinto_orm.permissions import Permissions
from kinto_orm.protocol import ERRNO_MISSING_PARENT, Call, Parents, Reply
from kinto_orm.query import Listing, Query
from kinto_orm.record import Record
from kinto_orm.session import Session
from kinto_orm.stored import state_of

if TYPE_CHECKING:
    from kinto_orm.conditions import Condition
    from kinto_orm.rendering import Renderer, Stored
    from kinto_orm.session import _Connection

Undefined = Literal["strict", "lenient"]
Isolation = Literal["none", "process"]


class Template(Record, collection="templates"):
    """A Jinja2 template, kept as a record of the collection `templates`.

    It renders from the values of `session.kv` in its bucket, and may include, extend and import
    the other templates of its collection. The collection is made on the first save.

    Attributes:
        name: Any text, such as "nginx.conf"; it cannot change once the template is saved.
        source: The Jinja2 source as it was written.
    """

    name: str
    source: str

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            name: str,
            source: str,
            permissions: Permissions | Mapping[str, Iterable[str]] = ...,
        ) -> None: ...

    # The name and the id

    @model_validator(mode="before")
    @classmethod
    def _identify(cls, data: Any) -> Any:
        if isinstance(data, dict) and "id" not in data and isinstance(data.get("name"), str):
            return data | {"id": keypath.record_id(data["name"])}
        return data

    @classmethod
    def _check_names(cls, given: Mapping[str, Any]) -> None:
        if "id" in given:
            raise InvalidData(f"the id of a {cls.__name__} follows from its name: leave id= out")
        super()._check_names(given)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "id" or (name == "name" and not self.is_new and value != self.name):
            raise ModelError(
                f"the {name} of {self._name} cannot change: save a new "
                f"{type(self).__name__}(name=..., source=...) and delete this one"
            )
        id = keypath.record_id(value) if name == "name" and isinstance(value, str) else self.id
        super().__setattr__(name, value)
        self.__dict__["id"] = id

    @property
    def _name(self) -> str:
        return f"{type(self).__name__} {self.__dict__.get('name', self.id)!r}"

    # Reading

    @classmethod
    def get(cls, name: str, *, session: Session | None = None) -> Self:
        """Fetch one template by its name (`GET`).

        Args:
            name: Any text.
            session: Which session to use; by default the current one or the class's.

        Raises:
            NotFound: There is none.
        """
        return super().get(name, session=session)

    @classmethod
    def get_or_none(cls, name: str, *, session: Session | None = None) -> Self | None:
        """Fetch one template by its name, or None when there is none (`GET`)."""
        try:
            return cls.get(name, session=session)
        except NotFound:
            return None

    @classmethod
    def get_or_create(
        cls, name: str, *, session: Session | None = None, **defaults: Any
    ) -> tuple[Self, bool]:
        """Fetch one template by its name, or create it when there is none (`GET`, then `PUT`).

        Args:
            name: Any text.
            session: Which session to use.
            **defaults: The fields of the one to be created: `source`.

        Returns:
            The template, and whether it was created.
        """
        found = cls.get_or_none(name, session=session)
        if found is not None:
            return found, False
        try:
            return cls(name=name, **defaults).save(session=session), True
        except Conflict:
            return cls.get(name, session=session), False

    @classmethod
    def find(cls, *conditions: Condition | bool, session: Session | None = None) -> Query[Self]:
        """A query over all templates that meet every condition; nothing is sent yet.

        Without any template, not even the collection, it finds nothing.

        Args:
            *conditions: Such as `col(Template.name).like("*.conf")`.
            session: Which session to use; by default the one that is current when it runs.
        """
        return _Templates(cls, session).where(*conditions)

    @classmethod
    def _get_call(cls, session: Session, id: str, parent: str | None = None) -> Call[Self]:
        call = super()._get_call(session, keypath.record_id(id), parent)
        call.doing = f"get {cls.__name__} {id!r}"
        return call

    # Writing

    def _save_call(
        self, given: Session | None, *, force: bool = False
    ) -> tuple[Session, Call[Self]] | None:
        self._refuse_partial()
        if force or self._is_edited:
            from kinto_orm.rendering import check

            check(self.source, self.name)
        return super()._save_call(given, force=force)

    @property
    def _is_edited(self) -> bool:
        return self.source != self._raw().get("source")

    def _place(self, given: Session | None) -> tuple[Session, str, Parents | None]:
        session, path, parents = super()._place(given)
        return session, path, parents

    # Rendering

    def render(
        self,
        overrides: Mapping[str, JsonValue] | None = None,
        /,
        *,
        undefined: Undefined = "strict",
        isolation: Isolation = "none",
        **more_overrides: JsonValue,
    ) -> str:
        """Render this template's source, saved or not, from the values of its bucket.

        The templates that it includes, extends and imports are the stored ones. They are fetched
        with one request for each level of inclusion; then one more fetches the values that are
        named. What nothing is named of is not fetched.

        Args:
            overrides: JSON values by root key, which are taken instead of the stored ones;
                whole root keys, not parts of them.
            undefined: "strict": a value that is not there is an error. "lenient": it is written
                as nothing.
            isolation: "none": in this process, for templates whose authors you trust. "process":
                in a limited process of its own, for all others.
            **more_overrides: The same, for keys that are identifiers.

        Raises:
            UndefinedVariable: A value is not there.
            RenderLimit: It was stopped; the message names the limit.
            TemplateError: Anything else that is wrong in a template, or one that it includes is
                not there; `name` and `lineno` say where.
        """
        given = dict(overrides or {}) | more_overrides
        with self._at_work() as (renderer, shelf):
            values = shelf.values(renderer.needs(self.name), given.keys())
            return renderer.render(
                self.name, values | given, undefined=undefined, isolation=isolation
            )

    def render_json(
        self,
        overrides: Mapping[str, JsonValue] | None = None,
        /,
        *,
        undefined: Undefined = "strict",
        isolation: Isolation = "none",
        **more_overrides: JsonValue,
    ) -> JsonValue:
        """Render as `render` does, and read the text as JSON.

        Raises:
            TemplateError: Also when the text is no JSON; `lineno` is the line of the text.
        """
        from kinto_orm.rendering import parse_json

        given = dict(overrides or {}) | more_overrides
        return parse_json(self.render(given, undefined=undefined, isolation=isolation), self.name)

    def render_yaml(
        self,
        overrides: Mapping[str, JsonValue] | None = None,
        /,
        *,
        undefined: Undefined = "strict",
        isolation: Isolation = "none",
        **more_overrides: JsonValue,
    ) -> JsonValue:
        """Render as `render` does, and read the text as YAML, as far as JSON has the same values.

        Raises:
            ConfigurationError: PyYAML is not installed.
            TemplateError: Also when the text is no YAML; `lineno` is the line of the text.
        """
        from kinto_orm.rendering import parse_yaml

        given = dict(overrides or {}) | more_overrides
        return parse_yaml(self.render(given, undefined=undefined, isolation=isolation), self.name)

    def variables(self) -> frozenset[str]:
        """The root keys that rendering takes, with all that the template includes.

        Fetches the templates that are included, extended or imported. A template that is named
        by a calculated name is left out.

        Raises:
            TemplateError: One of them does not parse.
        """
        with self._at_work() as (renderer, _):
            return renderer.variables(self.name)

    @contextmanager
    def _at_work(self) -> Iterator[tuple[Renderer, _Shelf]]:
        """The renderer of this template's collection, and what it takes from the server."""
        session, parent, _ = self._place(None)
        shelf = _Shelf(self, session, parent)
        token = _shelf.set(shelf)
        try:
            shelf.gather()
            yield _renderer(session, parent), shelf
        finally:
            _shelf.reset(token)

    def _document(self) -> Stored:
        """The local source, as the renderer wants it."""
        from kinto_orm.rendering import Stored

        return Stored(self.name, self.source, None if self._is_edited else self.last_modified)


class _Templates(Query[M]):
    """A query that finds nothing where the collection was not made yet."""

    def count(self) -> int:
        return _or_missing(super().count, 0)

    def delete(self) -> int:
        return _or_missing(super().delete, 0)

    def _fetch(self, listing: Listing[M], query: str) -> Reply:
        return _or_missing(partial(super()._fetch, listing, query), _EMPTY)


def _or_missing(ask: Callable[[], T], nothing: T) -> T:
    try:
        return ask()
    except NotFound:
        return nothing


class _Shelf:
    """What one render takes from the server: templates, and the values that they name."""

    def __init__(self, template: Template, session: Session, parent: str) -> None:
        self._query = _Templates(type(template), session, parent)
        self._bucket = parent.split("/")[2]
        self._found: dict[str, Stored | None] = {template.name: template._document()}

    def load(self, name: str) -> Stored | None:
        """A template by its name; fetched now when nothing named it before."""
        if name not in self._found:
            self._fetch([name])
        return self._found[name]

    def gather(self) -> None:
        """Fetch all templates that others name, a level of inclusion with each request."""
        while named := self._named():
            self._fetch(named)

    def _named(self) -> list[str]:
        """Names that are not fetched yet, unless there are more than a render may load."""
        found = [stored for stored in self._found.values() if stored is not None]
        named = {name for stored in found for name in _references(stored)} - self._found.keys()
        return sorted(named) if len(named) + len(self._found) <= _MOST else []

    def _fetch(self, names: Sequence[str]) -> None:
        self._found.update(dict.fromkeys(names))
        by_id = {id: name for name in names if (id := _id_or_none(name)) is not None}
        if by_id:
            for each in self._query.where(col(Template.id).in_(by_id)):
                self._found[by_id[each.id]] = each._document(by_id[each.id])

    def values(self, needs: Needs, given: Collection[str]) -> dict[str, JsonValue]:
        """The stored values that are needed and not given, by root key; in one request."""
        query = Query(Record, self._query.session, f"/buckets/{self._bucket}/collections/kv/records")
        ...
