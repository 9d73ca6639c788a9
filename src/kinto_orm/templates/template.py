"""Templates: Jinja2 sources kept on the server, rendered from the values of its keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeVar

from pydantic import JsonValue, model_validator

from kinto_orm.errors import InvalidData, ModelError, wrong_option
from kinto_orm.kv import keypath
from kinto_orm.models.asking import scope_of
from kinto_orm.models.deleting import Tombstone
from kinto_orm.models.hooks import around_delete, around_save
from kinto_orm.models.naming import refuse_undeclared
from kinto_orm.models.permissions import Permissions
from kinto_orm.models.record import Record
from kinto_orm.models.saving import Saved
from kinto_orm.queries.pager import Known, Page, Pages
from kinto_orm.queries.query import Query
from kinto_orm.templates.documents import Isolation, Undefined, is_edited
from kinto_orm.templates.kinto import KintoTemplates
from kinto_orm.templates.kvp import KvpTemplates
from kinto_orm.wire.awaiting import arun
from kinto_orm.wire.driving import run
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.scope import Scope

if TYPE_CHECKING:
    from kinto_orm.queries.conditions import Condition

M = TypeVar("M", bound=Record)


class Store(Protocol):
    """Where templates are kept, and rendered from."""

    def getting(self, model: type[M], name: str) -> Flow[M]: ...  # noqa: D102
    def saving(  # noqa: D102
        self, template: Record, given: Scope | None, *, force: bool, last_modified: int | None
    ) -> Flow[Saved]: ...
    def deleting(  # noqa: D102
        self, template: Record, given: Scope | None, *, missing_ok: bool, force: bool
    ) -> Flow[Tombstone]: ...
    def refreshing(  # noqa: D102
        self, template: M, given: Scope | None, *, keep_changes: bool, whole: bool
    ) -> Flow[M]: ...
    def listing(self, query: Query[M]) -> Flow[Page[M]] | None: ...  # noqa: D102
    def rendering(  # noqa: D102
        self,
        template: Record,
        given: Mapping[str, JsonValue],
        undefined: Undefined,
        isolation: Isolation,
    ) -> Flow[str]: ...
    def variables(self, template: Record) -> Flow[frozenset[str]]: ...  # noqa: D102


_STORES: Mapping[str, Callable[[Scope], Store]] = {"kinto": KintoTemplates, "kvp": KvpTemplates}


def store_of(scope: Scope) -> Store:
    """The store of the server that a scope speaks to."""
    return _STORES[scope.dialect](scope)


class Templates(Query[M]):
    """A query of templates: it finds nothing where none was ever saved."""

    def opening(self) -> Flow[Pages[Page[M]]]:
        """Find where the templates are."""
        listing = store_of(self.scope()).listing(self)
        return (yield from super().opening()) if listing is None else Known((yield from listing))

    def counting(self) -> Flow[int]:
        """Count them."""
        listing = store_of(self.scope()).listing(self)
        return (yield from super().counting()) if listing is None else len((yield from listing))


class Template(Record, collection="templates"):
    """A Jinja2 template: a record of the collection `templates`, made on the first save.

    It renders from the values of its bucket (`session.kv`), and may include, extend and import
    the other templates of its collection. On a kvp.io server the same works as far as the
    protocol goes: it has no preconditions, so that saving overwrites and deleting does not
    notice that there was nothing; it lists names only; and it renders by itself.

    Attributes:
        name: Any text, such as "nginx.conf"; it cannot change once the template is saved.
        source: The Jinja2 source as it was written.
    """

    __kinto_unmade__: ClassVar[bool] = True
    __kinto_title__: ClassVar[str] = "name"

    name: str
    source: str

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            name: str,
            source: str,
            permissions: Permissions | Mapping[str, Iterable[str]] = ...,
            **fields: Any,
        ) -> None: ...

    # The name stands for the id

    @model_validator(mode="before")
    @classmethod
    def _identify(cls, data: Any) -> Any:
        if isinstance(data, dict) and "id" not in data and isinstance(data.get("name"), str):
            return data | {"id": keypath.record_id(data["name"])}
        return data

    @classmethod
    def __kinto_id_of__(cls, title: str) -> str:
        return keypath.record_id(title)

    @classmethod
    def __kinto_check_names__(cls, given: Mapping[str, Any]) -> None:
        if "id" in given:
            raise InvalidData(f"the id of a {cls.__name__} follows from its name: leave id= out")
        refuse_undeclared(cls, given)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "id" or (name == "name" and not self.is_new and value != self.name):
            raise ModelError(
                f"the {name} of {self.__kinto_name__} cannot change: save a new "
                f"{type(self).__name__}(name=..., source=...) and delete this one"
            )
        id = keypath.record_id(value) if name == "name" and isinstance(value, str) else self.id
        super().__setattr__(name, value)
        self.__dict__["id"] = id

    # Reading

    @classmethod
    def get(cls, name: str, *, session: Scope | None = None) -> Self:
        """Fetch one template by its name (`GET`).

        Args:
            name: Any text.
            session: Which session to use; by default the current one or the class's.

        Raises:
            NotFound: There is none.
        """
        return super().get(name, session=session)

    @classmethod
    async def aget(cls, name: str, *, session: Scope | None = None) -> Self:
        """`get`, awaited."""
        return await super().aget(name, session=session)

    @classmethod
    async def aget_or_none(cls, name: str, *, session: Scope | None = None) -> Self | None:
        """`get_or_none`, awaited."""
        return await super().aget_or_none(name, session=session)

    @classmethod
    def get_or_none(cls, name: str, *, session: Scope | None = None) -> Self | None:
        """Fetch one template by its name, or None when there is none (`GET`)."""
        return super().get_or_none(name, session=session)

    @classmethod
    def get_or_create(
        cls,
        name: str,
        defaults: Mapping[str, object] | None = None,
        /,
        *,
        session: Scope | None = None,
        **more: object,
    ) -> tuple[Self, bool]:
        """Fetch one template by its name, or create it when there is none (`GET`, then `PUT`).

        Args:
            name: Any text.
            defaults: The fields of the one to be created: `source`, or more.
            session: Which session to use.
            **more: The same as keywords.

        Returns:
            The template, and whether it was created. When somebody else creates it meanwhile,
            theirs is fetched.

        Raises:
            Conflict: Unconfirmed: the answer was lost, and there is a template of this name.
        """
        return super().get_or_create(name, defaults, session=session, **more)

    @classmethod
    async def aget_or_create(
        cls,
        name: str,
        defaults: Mapping[str, object] | None = None,
        /,
        *,
        session: Scope | None = None,
        **more: object,
    ) -> tuple[Self, bool]:
        """`get_or_create`, awaited."""
        return await super().aget_or_create(name, defaults, session=session, **more)

    @classmethod
    def find(cls, *conditions: Condition | bool, session: Scope | None = None) -> Query[Self]:
        """A query over all templates that meet every condition; nothing is sent yet.

        It finds nothing where no template was ever saved. On a kvp.io server it takes no
        conditions, and the templates have their names only, until they are refreshed.

        Args:
            *conditions: Such as `col(Template.name).like("*.conf")`.
            session: Which session to use; by default the one that is current when it runs.
        """
        return Templates(cls, session).where(*conditions)

    # Writing

    def __kinto_save__(
        self, given: Scope | None, *, force: bool = False, last_modified: int | None = None
    ) -> Flow[Saved]:
        store = store_of(scope_of(self, given))
        flow = store.saving(self, given, force=force, last_modified=last_modified)
        return around_save(self, given, flow)

    def __kinto_delete__(
        self, given: Scope | None, *, missing_ok: bool = False, force: bool = False
    ) -> Flow[Tombstone]:
        store = store_of(scope_of(self, given))
        flow = store.deleting(self, given, missing_ok=missing_ok, force=force)
        return around_delete(self, given, flow, force=force)

    def __kinto_refresh__(
        self, given: Scope | None, *, keep_changes: bool = False, whole: bool = False
    ) -> Flow[Self]:
        store = store_of(scope_of(self, given))
        return store.refreshing(self, given, keep_changes=keep_changes, whole=whole)

    @classmethod
    def __kinto_get__(cls, scope: Scope, id: str) -> Flow[Self]:
        return store_of(scope).getting(cls, id)

    def __kinto_check_save__(self, *, force: bool) -> None:
        """Refuse a source that does not parse."""
        if "source" in self and (force or is_edited(self)):
            from kinto_orm.rendering import check

            check(self.source, self.name)

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
        """Render the source as it is here, saved or not, from the values of the bucket.

        What it includes, extends and imports is taken from the server: with one request for each
        level of inclusion, or for each template with `isolation="process"`, which parses nothing
        here. One more request fetches the values that are named in all of them. What is not named
        is not fetched, unless the names are calculated.

        Args:
            overrides: JSON values by root key, taken instead of the stored ones: whole root
                keys, not parts of them. They are not fetched.
            undefined: "strict": a value that is not there is an error. "lenient": it is written
                as nothing.
            isolation: "none": in this process, for templates whose authors you trust. "process":
                in a limited process of its own, for all others. A kvp.io server decides by
                itself.
            **more_overrides: The same, for keys that are identifiers.

        Raises:
            UndefinedVariable: A value is not there.
            RenderLimit: It was stopped; the message names the limit.
            RenderBusy: Too many isolated renders were going on: try again later.
            TemplateError: Anything else that is wrong in a template, such as one that is not
                there; `name` and `lineno` say where.
        """
        flow = self._rendering(dict(overrides or {}) | more_overrides, undefined, isolation)
        return run(scope_of(self), flow)

    async def arender(
        self,
        overrides: Mapping[str, JsonValue] | None = None,
        /,
        *,
        undefined: Undefined = "strict",
        isolation: Isolation = "none",
        **more_overrides: JsonValue,
    ) -> str:
        """`render`, awaited; it is rendered in a thread."""
        flow = self._rendering(dict(overrides or {}) | more_overrides, undefined, isolation)
        return await arun(scope_of(self), flow)

    def _rendering(
        self, overrides: Mapping[str, JsonValue], undefined: Undefined, isolation: Isolation
    ) -> Flow[str]:
        if undefined not in ("strict", "lenient") or isolation not in ("none", "process"):
            raise wrong_option(
                "undefined is 'strict' or 'lenient', isolation 'none' or 'process'; values for "
                "root keys of these names are given as a mapping: render({'undefined': ...})"
            )
        # Keys of `session.kv` are a kind of str, and the sandbox takes nothing but str.
        given = {str(k) if isinstance(k, str) else k: v for k, v in overrides.items()}
        return store_of(scope_of(self)).rendering(self, given, undefined, isolation)

    def render_json(
        self,
        overrides: Mapping[str, JsonValue] | None = None,
        /,
        *,
        undefined: Undefined = "strict",
        isolation: Isolation = "none",
        **more_overrides: JsonValue,
    ) -> JsonValue:
        """Render, and read the text as JSON; the arguments are those of `render`.

        Raises:
            TemplateError: Also when the text is no JSON; `lineno` is the line of the text.
        """
        from kinto_orm.rendering import parse_json

        given = dict(overrides or {}) | more_overrides
        return parse_json(self.render(given, undefined=undefined, isolation=isolation), self.name)

    async def arender_json(
        self,
        overrides: Mapping[str, JsonValue] | None = None,
        /,
        *,
        undefined: Undefined = "strict",
        isolation: Isolation = "none",
        **more_overrides: JsonValue,
    ) -> JsonValue:
        """`render_json`, awaited."""
        from kinto_orm.rendering import parse_json

        given = dict(overrides or {}) | more_overrides
        text = await self.arender(given, undefined=undefined, isolation=isolation)
        return parse_json(text, self.name)

    def render_yaml(
        self,
        overrides: Mapping[str, JsonValue] | None = None,
        /,
        *,
        undefined: Undefined = "strict",
        isolation: Isolation = "none",
        **more_overrides: JsonValue,
    ) -> JsonValue:
        """Render, and read the text as YAML, as far as JSON has the same values.

        The arguments are those of `render`.

        Raises:
            ConfigurationError: PyYAML is not installed.
            TemplateError: Also when the text is no YAML; `lineno` is the line of the text.
        """
        from kinto_orm.rendering import parse_yaml

        given = dict(overrides or {}) | more_overrides
        return parse_yaml(self.render(given, undefined=undefined, isolation=isolation), self.name)

    async def arender_yaml(
        self,
        overrides: Mapping[str, JsonValue] | None = None,
        /,
        *,
        undefined: Undefined = "strict",
        isolation: Isolation = "none",
        **more_overrides: JsonValue,
    ) -> JsonValue:
        """`render_yaml`, awaited."""
        from kinto_orm.rendering import parse_yaml

        given = dict(overrides or {}) | more_overrides
        text = await self.arender(given, undefined=undefined, isolation=isolation)
        return parse_yaml(text, self.name)

    def variables(self) -> frozenset[str]:
        """The root keys that rendering takes, with all that the template includes.

        The templates that it includes are fetched, and parsed in this process. One that it names
        by a calculation is left out.

        Raises:
            TemplateError: One of them does not parse.
        """
        scope = scope_of(self)
        return run(scope, store_of(scope).variables(self))

    async def avariables(self) -> frozenset[str]:
        """`variables`, awaited."""
        scope = scope_of(self)
        return await arun(scope, store_of(scope).variables(self))
