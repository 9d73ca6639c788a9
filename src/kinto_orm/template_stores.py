"""Where templates are kept: as records of a Kinto server, or on a kvp.io server.

Both are used through the same few acts, so that the model need not know which it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from pydantic import JsonValue

from kinto_orm import keypath, kvp
from kinto_orm.conditions import col
from kinto_orm.errors import ConfigurationError, NotFound, TemplateError
from kinto_orm.including import Included, identified
from kinto_orm.kv_entries import UnmadeQuery, chunks
from kinto_orm.kv_store import KintoStore as Values
from kinto_orm.permissions import Permissions
from kinto_orm.pristine import unsaved
from kinto_orm.protocol import Reply
from kinto_orm.query import Page, Query
from kinto_orm.record import Record
from kinto_orm.resource import Tombstone
from kinto_orm.session import Session
from kinto_orm.state import State, put_state, set_state, state_of

if TYPE_CHECKING:
    from kinto_orm.rendering import Needs, Stored
    from kinto_orm.templates import Template

    M = TypeVar("M", bound=Template)
else:
    M = TypeVar("M")

Undefined = Literal["strict", "lenient"]
Isolation = Literal["none", "process"]

# What a kvp.io server keeps of a template.
_KEPT = frozenset({"name", "source"})


class Templates(UnmadeQuery[M]):
    """A query of templates: it finds nothing where none was ever saved."""

    def pages(self) -> Iterator[Page[M]]:
        """The templates page by page."""
        return store_of(self.model._session(self.session)).pages(self)

    def count(self) -> int:
        """How many templates there are."""
        return store_of(self.model._session(self.session)).count(self)

    def count_records(self) -> int:
        """How many records there are (`HEAD`)."""
        return super().count()


class Store(Protocol):
    """What templates need of a server."""

    def __init__(self, session: Session) -> None: ...

    def get(self, model: type[M], name: str) -> M:
        """Fetch a template; NotFound when there is none."""

    def save(self, template: Template, *, force: bool, last_modified: int | None) -> None:
        """Store a template, if there is anything to store."""

    def delete(self, template: Template, *, missing_ok: bool, force: bool) -> Tombstone:
        """Delete a template."""

    def refresh(self, template: Template, *, keep_changes: bool) -> None:
        """Take the server's state."""

    def pages(self, query: Templates[M]) -> Iterator[Page[M]]:
        """Find templates."""

    def count(self, query: Templates[M]) -> int:
        """Count templates."""

    def render(
        self,
        template: Template,
        given: Mapping[str, JsonValue],
        undefined: Undefined,
        isolation: Isolation,
    ) -> str:
        """Render a template; values that are given are not fetched."""

    def variables(self, template: Template) -> frozenset[str]:
        """Tell which root keys a template takes, with all that it includes."""


class KintoStore:
    """Templates as records of a collection, rendered in this program.

    Args:
        session: Runs the calls.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, model: type[M], name: str) -> M:
        """Fetch it (`GET`)."""
        return self._session.run(model._get_call(self._session, name))

    def save(self, template: Template, *, force: bool, last_modified: int | None) -> None:
        """Send what changed, with a precondition."""
        Record.save(template, force=force, last_modified=last_modified, session=self._session)

    def delete(self, template: Template, *, missing_ok: bool, force: bool) -> Tombstone:
        """Delete it, with a precondition."""
        return Record.delete(template, missing_ok=missing_ok, force=force, session=self._session)

    def refresh(self, template: Template, *, keep_changes: bool) -> None:
        """Fetch it if it changed."""
        Record.refresh(template, keep_changes=keep_changes, session=self._session)

    def pages(self, query: Templates[M]) -> Iterator[Page[M]]:
        """List the records."""
        return Query.pages(query)

    def count(self, query: Templates[M]) -> int:
        """Count the records."""
        return query.count_records()

    def render(
        self,
        template: Template,
        given: Mapping[str, JsonValue],
        undefined: Undefined,
        isolation: Isolation,
    ) -> str:
        """Fetch what it names, and render it here."""
        path = template._place(self._session)[1]
        # What nobody trusts is not even parsed in this process.
        with self._included(template, path).renderer(look=isolation == "none") as renderer:
            return renderer.render(
                template.name,
                lambda needs: self._values(path, needs, given) | dict(given),
                undefined=undefined,
                isolation=isolation,
            )

    def variables(self, template: Template) -> frozenset[str]:
        """Fetch what it includes, and look into all of them."""
        path = template._place(self._session)[1]
        with self._included(template, path).renderer(look=True) as renderer:
            return renderer.variables(template.name)

    def _included(self, template: Template, path: str) -> Included:
        model = type(template)
        query = model.find(session=self._session)._with(parent=path)

        def fetch(ids: Mapping[str, str]) -> Iterator[Stored]:
            for chunk in chunks(ids):
                for each in query.where(col(model.id).in_(chunk)):
                    if each.id in ids:  # else it was not asked for
                        yield each._document(ids[each.id])

        return Included(self._session, path, template._document(template.name), fetch)

    def _values(
        self, path: str, needs: Needs, given: Mapping[str, JsonValue]
    ) -> dict[str, JsonValue]:
        """The stored values that are needed and not given, by root key."""
        values = Values(self._session, path.split("/")[2])
        if needs.everything:
            return dict(values.items(""))
        return values.read_many(key for _, key in identified(needs.names - given.keys()))


class KvpStore:
    """Templates of a kvp.io server, rendered there. It knows no preconditions.

    Args:
        session: Runs the calls.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, model: type[M], name: str) -> M:
        """Fetch the source (`GET templates/{name}?raw=True`)."""
        source = kvp.get_template(self._session, name)
        if source is None:
            raise NotFound(
                f"cannot get {model.__name__} {name!r}: there is none of this name",
                details={"id": name, "resource_name": "record"},
            )
        found = model(name=name, source=source)
        put_state(found, self._state(found, {"name": name, "source": source}))
        return found

    def save(self, template: Template, *, force: bool, last_modified: int | None) -> None:
        """Store the source over whatever has that name (`POST templates/{name}`)."""
        template._refuse_partial()
        template._check_source(force)
        self._refuse_more(template)
        if last_modified is not None:
            self._session.require_kinto(f"keep a timestamp of {template._name}")
        if state_of(template).gone and not force:
            raise template._conflict(
                f"cannot save {template._name}: it was deleted. To create it again call "
                "save(force=True). Nothing was sent."
            )
        if force or template._is_edited or template._is_foreign(self._session):
            data = template._full_data()
            kvp.set_template(self._session, template.name, template.source)
            set_state(template, self._state(template, data))

    def delete(self, template: Template, *, missing_ok: bool, force: bool) -> Tombstone:
        """Delete it (`DELETE templates/{name}`); whether it was there cannot be told."""
        if template.is_new and not force:
            raise ConfigurationError(
                f"cannot delete {template._name}: it was never saved nor loaded here; get it "
                "first, or call delete(force=True). Nothing was sent."
            )
        template._refuse_foreign(self._session)
        kvp.delete_template(self._session, template.name)
        return template._bury(Tombstone(template.id, None))

    def refresh(self, template: Template, *, keep_changes: bool) -> None:
        """Fetch the source."""
        template._refuse_foreign(self._session)
        known = not (template.is_new or template.is_partial)
        keep = unsaved(template) if keep_changes and known else frozenset[str]()
        fresh = self.get(type(template), template.name)
        template._reload(fresh, state_of(fresh), keep)

    def pages(self, query: Templates[M]) -> Iterator[Page[M]]:
        """List the names (`GET templates/`); the sources are not loaded."""
        if query.conditions or query.orders or query.position:
            self._session.require_kinto(f"find {query.model.__name__} by conditions or in order")
        names = kvp.list_templates(self._session)[: query.most]
        if names:
            yield Page([self._named(query.model, name) for name in names], None)

    def count(self, query: Templates[M]) -> int:
        """Count the names."""
        return sum(len(page) for page in self.pages(query))

    def render(
        self,
        template: Template,
        given: Mapping[str, JsonValue],
        undefined: Undefined,
        isolation: Isolation,
    ) -> str:
        """Let the server render what it has, as isolated as it does (`GET templates/{name}`)."""
        if template.is_new or (not template.is_partial and template._is_edited):
            self._session.require_kinto(f"render {template._name} before it is saved")
        try:
            return kvp.render_template(self._session, template.name, given, undefined)
        except NotFound as error:
            raise TemplateError(str(error), name=template.name) from error

    def variables(self, template: Template) -> frozenset[str]:
        """Fetch what it includes, each with a request of its own."""
        document = template._document(template.name)
        with Included(self._session, "", document, self._sources).renderer(look=True) as renderer:
            return renderer.variables(template.name)

    def _sources(self, ids: Mapping[str, str]) -> Iterator[Stored]:
        from kinto_orm.rendering import Stored

        for name in ids.values():
            source = kvp.get_template(self._session, name)
            if source is not None:
                yield Stored(name, source, None)

    def _named(self, model: type[M], name: str) -> M:
        raw: dict[str, JsonValue] = {"id": keypath.record_id(name), "name": name}
        # Only Kinto's records have a time, and those that come from Kinto must have it.
        reply = Reply.parsed(200, {}, {"data": [raw | {"last_modified": 0}]})
        (found,) = model._loader().partial(reply, frozenset({*raw, "last_modified"}))
        found.__dict__["last_modified"] = None
        put_state(found, self._state(found, raw, partial=True))
        return found

    def _state(self, template: M, data: Mapping[str, JsonValue], *, partial: bool = False) -> State:
        id = keypath.record_id(str(data["name"]))
        source = template._source([template], raws={id: {"id": id, **data}})
        return State(self._session, None, source, partial=partial)

    def _refuse_more(self, template: Template) -> None:
        more = sorted(template._dump().keys() - _KEPT)
        permissions = state_of(template).permissions
        if template._pending_permissions() or (
            isinstance(permissions, Permissions) and permissions.wanted()
        ):
            more.append("permissions")
        if more:
            self._session.require_kinto(f"save {', '.join(more)} of {template._name}")


_STORES: Mapping[str, type[Store]] = {"kinto": KintoStore, "kvp": KvpStore}


def store_of(session: Session) -> Store:
    """The store of the server that a session speaks to."""
    return _STORES[session.dialect](session)
