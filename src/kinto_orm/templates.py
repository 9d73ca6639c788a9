"""Templates: Jinja2 sources kept on the server, rendered from the values of its keys."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, Self

from pydantic import JsonValue, model_validator

from kinto_orm import keypath
from kinto_orm.errors import (
    Conflict,
    InvalidData,
    ModelError,
    NotFound,
    ResponseError,
)
from kinto_orm.kv_entries import is_absent
from kinto_orm.options import given_fields
from kinto_orm.permissions import Permissions
from kinto_orm.protocol import Call, Parents, Reply
from kinto_orm.query import Query
from kinto_orm.record import Record
from kinto_orm.resource import Tombstone
from kinto_orm.session import Session
from kinto_orm.state import state_of
from kinto_orm.template_stores import Isolation, Store, Templates, Undefined, store_of

if TYPE_CHECKING:
    from kinto_orm.conditions import Condition
    from kinto_orm.rendering import Stored as Document


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

    # Where it lives

    @classmethod
    def _home(cls, session: Session) -> tuple[str, Parents | None]:
        session.require_kinto(f"use {cls.__name__} as a record")
        path, parents = super()._home(session)
        # Reading makes nothing.
        return path, parents and parents.explaining()

    def _place(self, given: Session | None) -> tuple[Session, str, Parents | None]:
        session, path, parents = super()._place(given)
        return session, path, parents and dataclasses.replace(parents, permitted=True, model="")

    def _store(self, given: Session | None = None) -> Store:
        return store_of(self._session(given, state_of(self).session))

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
        return store_of(cls._session(session)).get(cls, name)

    @classmethod
    def get_or_none(cls, name: str, *, session: Session | None = None) -> Self | None:
        """Fetch one template by its name, or None when there is none (`GET`)."""
        try:
            return cls.get(name, session=session)
        except NotFound:
            return None

    @classmethod
    def get_or_create(
        cls,
        name: str,
        defaults: Mapping[str, object] | None = None,
        /,
        *,
        session: Session | None = None,
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
        """
        verb = f"get_or_create({name!r}, "
        given_fields(cls, verb, defaults, more, {"session": session}, refused=("id", "name"))
        found = cls.get_or_none(name, session=session)
        if found is not None:
            return found, False
        try:
            return cls._of_fields(defaults, more | {"name": name}).save(session=session), True
        except Conflict:
            return cls.get(name, session=session), False

    @classmethod
    def find(cls, *conditions: Condition | bool, session: Session | None = None) -> Query[Self]:
        """A query over all templates that meet every condition; nothing is sent yet.

        It finds nothing where no template was ever saved. On a kvp.io server it takes no
        conditions, and the templates have their names only, until they are refreshed.

        Args:
            *conditions: Such as `col(Template.name).like("*.conf")`.
            session: Which session to use; by default the one that is current when it runs.
        """
        return Templates(cls, session).where(*conditions)

    @classmethod
    def _get_call(cls, session: Session, id: str, parent: str | None = None) -> Call[Self]:
        call = super()._get_call(session, keypath.record_id(id), parent)
        call.doing = f"get {cls.__name__} {id!r}"
        call.refused = partial(_refused, session, call.request.path, call.doing)
        return call

    # Writing

    def save(
        self,
        *,
        force: bool = False,
        last_modified: int | None = None,
        session: Session | None = None,
    ) -> Self:
        """Create the template, or send what changed, as every record does.

        The source is checked first.

        Args:
            force: Overwrite without a precondition, whatever the server has.
            last_modified: For replicas only, as for every record.
            session: Which session to use.

        Raises:
            TemplateSyntaxError: It does not parse, or names an unknown filter or test; `lineno`
                is the line. Nothing was sent.
            RenderLimit: It is too long, or too deeply nested. Nothing was sent.
            Conflict: It exists already, was changed by somebody else, or is gone.
        """
        self._store(session).save(self, force=force, last_modified=last_modified)
        return self

    def delete(
        self,
        *,
        missing_ok: bool = False,
        force: bool = False,
        session: Session | None = None,
    ) -> Tombstone:
        """Delete the template, as every record (`DELETE` with `If-Match`).

        Args:
            missing_ok: Be content when it is gone already.
            force: Delete it without a precondition, whatever the server has.
            session: Which session to use.

        Raises:
            Conflict: It was changed by somebody else, or is gone.
        """
        return self._store(session).delete(self, missing_ok=missing_ok, force=force)

    def refresh(self, *, keep_changes: bool = False, session: Session | None = None) -> Self:
        """Take the server's state (`GET` with `If-None-Match`).

        Args:
            keep_changes: Keep what is not saved yet.
            session: Which session to use.

        Raises:
            NotFound: It is gone.
        """
        self._store(session).refresh(self, keep_changes=keep_changes)
        return self

    def _save_call(
        self, given: Session | None, *, force: bool = False, last_modified: int | None = None
    ) -> tuple[Session, Call[Self]] | None:
        self._refuse_partial()
        self._check_source(force)
        return super()._save_call(given, force=force, last_modified=last_modified)

    def _check_source(self, force: bool) -> None:
        if force or self._is_edited:
            from kinto_orm.rendering import check

            check(self.source, self.name)

    @property
    def _is_edited(self) -> bool:
        return self.source != self._raw().get("source")

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
        if undefined not in ("strict", "lenient") or isolation not in ("none", "process"):
            raise ValueError(
                "undefined is 'strict' or 'lenient', isolation 'none' or 'process'; values for "
                "root keys of these names are given as a mapping: render({'undefined': ...})"
            )
        # Keys of `session.kv` are a kind of str, and the sandbox takes nothing but str.
        named = {str(k) if isinstance(k, str) else k: v for k, v in (overrides or {}).items()}
        return self._store().render(self, named | more_overrides, undefined, isolation)

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

    def variables(self) -> frozenset[str]:
        """The root keys that rendering takes, with all that the template includes.

        The templates that it includes are fetched, and parsed in this process. One that it names
        by a calculation is left out.

        Raises:
            TemplateError: One of them does not parse.
        """
        return self._store().variables(self)

    def _document(self, name: str) -> Document:
        """What the renderer gets of it, under the name by which it was asked for."""
        from kinto_orm.rendering import Stored

        return Stored(name, self.source, None if self._is_edited else self.last_modified)


def _refused(session: Session, path: str, doing: str, error: ResponseError, _: Reply) -> NoReturn:
    """Say of a collection that was never made that the template is not there."""
    if is_absent(error, session, path.split("/")[2]):
        raise NotFound(
            f"cannot {doing}: there is no template of this name",
            status=error.status,
            errno=error.errno,
            details=error.details,
            request=error.request,
        )
    raise error
