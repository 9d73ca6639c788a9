"""Templates of a kvp.io server, rendered there. It knows no preconditions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from pydantic import JsonValue

from kinto_orm.errors import NotFound, PathError, TemplateError
from kinto_orm.kv import keypath
from kinto_orm.models.asking import is_foreign, refuse_foreign, source_of
from kinto_orm.models.conflicts import conflict_of
from kinto_orm.models.contents import dump_of, name_of
from kinto_orm.models.deleting import Tombstone, bury, refuse_unknown_object
from kinto_orm.models.loading import loader_of
from kinto_orm.models.pristine import unsaved
from kinto_orm.models.record import Record
from kinto_orm.models.refreshing import become
from kinto_orm.models.saving import Saved, data_to_send, refuse_partial
from kinto_orm.models.state import (
    State,
    call_of,
    has_pending_permissions,
    is_new,
    put_state,
    set_state,
    state_of,
    wanted_permissions,
)
from kinto_orm.queries.pager import Page
from kinto_orm.queries.query import Query
from kinto_orm.templates.documents import (
    Isolation,
    Undefined,
    document_of,
    is_edited,
    name_and_source,
)
from kinto_orm.templates.including import Drive, Included
from kinto_orm.wire.flows import Flow, Work
from kinto_orm.wire.jsonvalues import encode
from kinto_orm.wire.kvp import ask_kvp, done, names_in, request, text_of
from kinto_orm.wire.messages import Reply
from kinto_orm.wire.scope import Scope

if TYPE_CHECKING:
    from kinto_orm.rendering import Document

M = TypeVar("M", bound=Record)

# What a kvp.io server keeps of a template.
_KEPT = frozenset({"name", "source"})


class KvpTemplates:
    """Templates of a kvp.io server.

    Args:
        scope: Where they are.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def getting(self, model: type[M], name: str) -> Flow[M]:
        """Fetch the source (`GET templates/{name}?raw=True`)."""
        source = yield from self._source(name)
        if source is None:
            raise NotFound(
                f"cannot get {model.__name__} {name!r}: there is none of this name",
                details={"id": name, "resource_name": "record"},
            )
        found = model(name=name, source=source)
        put_state(found, self._state(found, {"name": name, "source": source}))
        return found

    def saving(
        self, template: Record, given: Scope | None, *, force: bool, last_modified: int | None
    ) -> Flow[Saved]:
        """Store the source over whatever has that name (`POST templates/{name}`)."""
        refuse_partial(template)
        template.__kinto_check_save__(force=force)
        self._refuse_more(template)
        if last_modified is not None:
            self._scope.require_kinto(f"keep a timestamp of {name_of(template)}")
        if state_of(template).gone and not force:
            raise conflict_of(
                template,
                f"cannot save {name_of(template)}: it was deleted. To create it again call "
                f"{call_of(template, 'save(force=True)')}. Nothing was sent.",
            )
        foreign = yield from is_foreign(template, given)
        if not (force or is_edited(template) or foreign):
            return "unchanged"
        created: Saved = "created" if is_new(template) else "updated"
        data = data_to_send(template)
        name, source = name_and_source(template)
        body = encode(source, f"the template {name!r}")
        sent = request("POST", "templates", _path(name), body=body)
        done((yield from ask_kvp(self._scope, sent, f"save the template {name!r}")))
        set_state(template, self._state(template, data))
        return created

    def deleting(
        self, template: Record, given: Scope | None, *, missing_ok: bool, force: bool
    ) -> Flow[Tombstone]:
        """Delete it (`DELETE templates/{name}`); whether it was there cannot be told."""
        refuse_unknown_object(template, force=force)
        yield from refuse_foreign(template, given)
        name, _ = name_and_source(template)
        sent = request("DELETE", "templates", _path(name))
        done((yield from ask_kvp(self._scope, sent, f"delete the template {name!r}")))
        return bury(template, None)

    def refreshing(
        self, template: M, given: Scope | None, *, keep_changes: bool, whole: bool
    ) -> Flow[M]:
        """Fetch the source."""
        yield from refuse_foreign(template, given)
        known = not (is_new(template) or state_of(template).partial)
        keep = unsaved(template) if keep_changes and known else frozenset[str]()
        fresh = yield from self.getting(type(template), str(template["name"]))
        become(template, fresh, state_of(fresh), keep)
        return template

    def listing(self, query: Query[M]) -> Flow[Page[M]] | None:
        """List the names (`GET templates/`); the sources are not loaded."""
        return self._listing(query)

    def _listing(self, query: Query[M]) -> Flow[Page[M]]:
        if query.conditions or query.orders or query.position:
            self._scope.require_kinto(f"find {query.model.__name__} by conditions or in order")
        names = (yield from self._names())[: query.most]
        return Page([self._named(query.model, name) for name in names], None)

    def rendering(
        self,
        template: Record,
        given: Mapping[str, JsonValue],
        undefined: Undefined,
        isolation: Isolation,
    ) -> Flow[str]:
        """Let the server render what it has, as isolated as it does (`GET templates/{name}`).

        The values that are given are the body of the GET, as in kvp.io's own clients; `undefined`
        is sent as a parameter, which a server other than ours may ignore.
        """
        if is_new(template) or (not state_of(template).partial and is_edited(template)):
            self._scope.require_kinto(f"render {name_of(template)} before it is saved")
        name = str(template["name"])
        sent = request(
            "GET",
            "templates",
            _path(name),
            params={"raw": "False", "undefined": undefined},
            body=encode(dict(given), "the overrides") if given else None,
        )
        reply = yield from ask_kvp(self._scope, sent, f"render the template {name!r}")
        text = text_of(reply)
        if not text and name not in (yield from self._names()):
            raise TemplateError(
                f"cannot render the template {name!r}: there is none of this name", name=name
            )
        return text

    def variables(self, template: Record) -> Flow[frozenset[str]]:
        """Fetch what it includes, each with a request of its own."""
        document, connection = document_of(template), self._scope.connection

        def work(drive: Drive) -> frozenset[str]:
            included = Included(connection, "", document, self._sources, drive)
            with included.renderer(look=True) as renderer:
                return renderer.variables(document.name)

        return (yield Work(work))  # type: ignore[no-any-return]

    def _sources(self, ids: Mapping[str, str]) -> Flow[list[Document]]:
        from kinto_orm.rendering import Document

        found: list[Document] = []
        for name in ids.values():
            source = yield from self._source(name)
            if source is not None:
                found.append(Document(name, source, None))
        return found

    def _source(self, name: str) -> Flow[str | None]:
        """Fetch a template as it was written; None when there is none.

        An empty answer stands for an empty template, too: then the list of all names tells.
        """
        sent = request("GET", "templates", _path(name), params={"raw": "True"})
        doing = f"get the template {name!r}"
        source = text_of((yield from ask_kvp(self._scope, sent, doing)))
        if source:
            return source
        if name not in (yield from self._names()):
            return None
        # It is empty, or came into being between the two answers.
        return text_of((yield from ask_kvp(self._scope, sent, doing)))

    def _names(self) -> Flow[list[str]]:
        sent = request("GET", "templates", ())
        return names_in((yield from ask_kvp(self._scope, sent, "list the templates")))

    def _named(self, model: type[M], name: str) -> M:
        raw: dict[str, JsonValue] = {"id": keypath.record_id(name), "name": name}
        # Only Kinto's records have a time, and those that come from Kinto must have it.
        reply = Reply.parsed(200, {}, {"data": [raw | {"last_modified": 0}]})
        (found,) = loader_of(model).partial(reply, frozenset({*raw, "last_modified"}))
        found.__dict__["last_modified"] = None
        put_state(found, self._state(found, raw, partial=True))
        return found

    def _state(
        self, template: Record, data: Mapping[str, JsonValue], *, partial: bool = False
    ) -> State:
        id = keypath.record_id(str(data["name"]))
        source = source_of(type(template), [template], raws={id: {"id": id, **data}})
        return State(self._scope, None, source, partial=partial)

    def _refuse_more(self, template: Record) -> None:
        more = sorted(dump_of(template).keys() - _KEPT)
        if has_pending_permissions(template) or wanted_permissions(template):
            more.append("permissions")
        if more:
            self._scope.require_kinto(f"save {', '.join(more)} of {name_of(template)}")


def _path(name: str) -> tuple[str]:
    """A template's name as a path segment; refused when the protocol would change it."""
    keypath.record_id(name)
    if name in ("", ".", "..") or name.endswith("/"):
        raise PathError(
            f"{name!r} cannot be the name of a template on a kvp.io server: its path would be "
            "taken for another one"
        )
    return (name,)
