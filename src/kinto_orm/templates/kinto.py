"""Templates as records of a Kinto server, rendered in this program."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import JsonValue

from kinto_orm.errors import NotFound, ResponseError
from kinto_orm.kv import keypath
from kinto_orm.kv.entries import lists_for_urls
from kinto_orm.kv.kinto import KintoStore as Values
from kinto_orm.models.asking import ask_about, home_of, loaded, place_of
from kinto_orm.models.deleting import Tombstone, deleting
from kinto_orm.models.record import Record
from kinto_orm.models.refreshing import refreshing
from kinto_orm.models.saving import Saved, saving
from kinto_orm.queries.conditions import col
from kinto_orm.queries.pager import Page, reading_all
from kinto_orm.queries.query import Query
from kinto_orm.templates.documents import Isolation, Undefined, document_of
from kinto_orm.templates.including import Drive, Included, identified
from kinto_orm.wire.flows import Flow, Work, side_by_side
from kinto_orm.wire.messages import Request
from kinto_orm.wire.places import Place, is_absent
from kinto_orm.wire.scope import Scope

if TYPE_CHECKING:
    from kinto_orm.rendering import Document, Needs

M = TypeVar("M", bound=Record)


class KintoTemplates:
    """Templates of a Kinto server.

    Args:
        scope: Where they are.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def getting(self, model: type[M], name: str) -> Flow[M]:
        """Fetch it (`GET`)."""
        self._scope.require_kinto(f"get {model.__name__} {name!r}")
        place = yield from home_of(model, self._scope)
        id = keypath.record_id(name)
        doing = f"get {model.__name__} {name!r}"
        request = Request("GET", place.of(id, "record"))
        try:
            reply = yield from ask_about(model, request, doing, place.parents)
        except ResponseError as error:
            if not is_absent(error, place):
                raise
            raise _missing(error, doing) from error
        return loaded(model, reply, place, id)

    def saving(
        self, template: Record, given: Scope | None, *, force: bool, last_modified: int | None
    ) -> Flow[Saved]:
        """Send what changed, with a precondition."""
        return saving(template, given, force=force, last_modified=last_modified)

    def deleting(
        self, template: Record, given: Scope | None, *, missing_ok: bool, force: bool
    ) -> Flow[Tombstone]:
        """Delete it, with a precondition."""
        return deleting(template, given, missing_ok=missing_ok, force=force)

    def refreshing(
        self, template: M, given: Scope | None, *, keep_changes: bool, whole: bool
    ) -> Flow[M]:
        """Fetch it if it changed."""
        return refreshing(template, given, keep_changes=keep_changes, whole=whole)

    def listing(self, query: Query[M]) -> Flow[Page[M]] | None:
        """None: they are listed as all records are."""
        return None

    def rendering(
        self,
        template: Record,
        given: Mapping[str, JsonValue],
        undefined: Undefined,
        isolation: Isolation,
    ) -> Flow[str]:
        """Fetch what it names, and render it here."""
        place = yield from place_of(template, self._scope)
        document = document_of(template)

        def work(drive: Drive) -> str:
            def values(needs: Needs) -> dict[str, Any]:
                found: dict[str, Any] = drive(_values(place, needs, given))
                return found | dict(given)

            included = _included(template, place, document, drive)
            # What nobody trusts is not even parsed in this process.
            with included.renderer(look=isolation == "none") as renderer:
                return renderer.render(
                    document.name, values, undefined=undefined, isolation=isolation
                )

        return (yield Work(work))  # type: ignore[no-any-return]

    def variables(self, template: Record) -> Flow[frozenset[str]]:
        """Fetch what it includes, and look into all of them."""
        place = yield from place_of(template, self._scope)
        document = document_of(template)

        def work(drive: Drive) -> frozenset[str]:
            included = _included(template, place, document, drive)
            with included.renderer(look=True) as renderer:
                return renderer.variables(document.name)

        return (yield Work(work))  # type: ignore[no-any-return]


def _missing(error: ResponseError, doing: str) -> NotFound:
    """What to say of a collection that was never made: the template is not there."""
    return NotFound(
        f"cannot {doing}: there is no template of this name",
        status=error.status,
        errno=error.errno,
        details=error.details,
        request=error.request,
    )


def _included(template: Record, place: Place, document: Document, drive: Drive) -> Included:
    model = type(template)
    query = Query(model, place.scope, place.path)

    def fetch(ids: Mapping[str, str]) -> Flow[list[Document]]:
        lists = lists_for_urls(ids)
        found = yield from side_by_side(
            reading_all(query.where(col(model.id).in_(each))) for each in lists
        )
        return [
            document_of(each, ids[each.id])
            for each in chain.from_iterable(found)
            if each.id in ids  # else it was not asked for
        ]

    return Included(place.scope.connection, place.path, document, fetch, drive)


def _values(
    place: Place, needs: Needs, given: Mapping[str, JsonValue]
) -> Flow[dict[str, JsonValue]]:
    """The stored values that are needed and not given, by root key."""
    values = Values(place.scope, place.path.split("/")[2])
    if needs.everything:
        return values.reading_all()
    return values.reading_many([key for _, key in identified(needs.names - given.keys())])
