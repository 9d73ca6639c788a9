"""Objects copied from one place to another, with all that is inside; and taken away there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from kinto_orm import (
    BatchError,
    Bucket,
    Conflict,
    Interrupted,
    KintoError,
    NotFound,
    Record,
    Session,
)
from kinto_orm.cli.failing import Misuse, failure_of
from kinto_orm.cli.printing import tell
from kinto_orm.cli.targets import NOT_DATA, Stored, Target, inside_of, model_of, stored
from kinto_orm.cli.unfit import is_unfit

T = TypeVar("T")

# So many records are read, copied and, when they move, deleted at once.
_AT_ONCE = 100
# Of so many failures the reasons are said.
_SAID = 20


@dataclass
class Counts:
    """What became of the objects.

    Attributes:
        copied: How many were written.
        there: How many were there already, and are equal.
        deleted: How many were taken away where they were.
        failed: How many could not be copied or taken away.
        hidden: Of how many the permissions are not shown.
        status: The exit status.
    """

    copied: int = 0
    there: int = 0
    deleted: int = 0
    failed: int = 0
    hidden: int = 0
    status: int = 0

    @property
    def done(self) -> int:
        """How many objects were dealt with."""
        return self.copied + self.there + self.failed

    def __str__(self) -> str:
        told = {
            "copied": self.copied,
            "there already": self.there,
            "deleted where they were": self.deleted,
            "failed": self.failed,
        }
        said = ", ".join(f"{count} {what}" for what, count in told.items() if count)
        return said or "nothing was copied"


@dataclass
class Transfer:
    """Copies objects.

    Attributes:
        source: The session of the server where they are.
        to: The session of the server where they go.
        force: Whether what is there is overwritten.
        permissions: Whether permissions go, too.
        move: Whether what was copied is taken away where it was.
        progress: Is told of the counts as they grow.
        principals: What becomes of groups' principals: the path of a bucket by that of another.
    """

    source: Session
    to: Session
    force: bool = False
    permissions: bool = True
    move: bool = False
    progress: Callable[[Counts], object] = id
    principals: tuple[str, str] | None = None
    counts: Counts = field(default_factory=Counts)
    _schemas: dict[Target, bool] = field(default_factory=dict)

    def all(self, source: Target, to: Target) -> None:
        """Copy an object, or all of a kind, with all that is inside.

        Raises:
            Conflict: There is another object already.
        """
        if source.id is not None and to.id is not None:
            self._one(source, to)
            return
        if source.kind == "records":
            self._records(source, to)
            return
        model, scope = model_of(source, self.source)
        for id in [each.id for each in scope.find(model)]:
            self._one(source.at(id), to.at(id))

    def _one(self, source: Target, to: Target) -> None:
        model, scope = model_of(source, self.source)
        original = scope.get(model, source.id or "")
        if model is Bucket:
            new = self.to.resolve_bucket(to.id)
            self.principals = (f"/buckets/{original.id}/", f"/buckets/{new}/")
        written = self._written([original], source, to)
        if not written:
            return
        for kind in _INSIDE.get(source.kind, ()):
            self.all(source.child(kind, None), to.child(kind, None))
        if self.move:
            self._take_away(written, source)

    def _records(self, source: Target, to: Target) -> None:
        for chunk in _chunks(self._originals(source)):
            written = self._written(chunk, source, to)
            if self.move:
                self._take_away(written, source)

    def _originals(self, source: Target) -> Iterator[Record]:
        """The records, read once more for their permissions, which lists do not carry."""
        scope = model_of(source, self.source)[1]
        if not self.permissions:
            yield from scope.find(Record).on_invalid(lambda _, error: self._failed(error))
            return
        for chunk in _chunks(each.id for each in scope.find(Record).only("id")):
            with_permissions = scope.batch()
            outcomes = [with_permissions.get(Record, id) for id in chunk]
            try:
                with_permissions.run()
            except BatchError:
                # What was deleted meanwhile is not there to be copied.
                errors = (each.error for each in outcomes if each.error is not None)
                for error in errors:
                    if is_unfit(error):
                        self._failed(error)
                    elif not isinstance(error, NotFound):
                        raise error from None
            yield from (each.result for each in outcomes if each.result is not None)

    def _written(self, originals: list[Any], source: Target, to: Target) -> list[Any]:
        """Copy objects; those of which a copy is there now."""
        scope, schema = model_of(to, self.to)[1], self._has_schema(source)
        single = to.id if source.id is not None else None
        copies = [self._copy(each, single or each.id, schema=schema) for each in originals]
        try:
            summary = scope.save_all(copies, force=self.force)
        except Interrupted as interrupt:
            self.counts.copied += interrupt.summary.created + interrupt.summary.updated
            raise
        failed = {id(each.target): each.error for each in summary.failed}
        written = []
        for original, copy in zip(originals, copies, strict=True):
            error = failed.get(id(copy))
            if isinstance(error, Conflict) and self._is_there(error, original, copy, scope):
                self.counts.there += 1
            elif error is not None:
                self._failed(_explained(error) if isinstance(error, Conflict) else error)
                continue
            written.append(original)
        self.counts.copied += summary.created + summary.updated
        self.progress(self.counts)
        if summary.stopped is not None:
            raise summary.stopped
        return written

    def _has_schema(self, source: Target) -> bool:
        """Whether the server writes the timestamp of a schema into what is copied."""
        if source.kind != "records":
            return False
        collection = Target(source.steps[:-1])
        if collection not in self._schemas:
            model, scope = model_of(collection, self.source)
            try:
                found = scope.get(model, collection.id or "")
                self._schemas[collection] = stored(found).get("schema") is not None
            except KintoError:
                self._schemas[collection] = True  # it may not be read: a number is a timestamp then
        return self._schemas[collection]

    def _copy(self, original: Stored, id: str, *, schema: bool) -> Any:
        sets = self._sets(original) if self.permissions else {}
        copy = type(original)(id=id, permissions=sets)
        for name, value in stored(original).items():
            made_by_server = schema and name == "schema" and type(value) is int
            if name not in NOT_DATA and not made_by_server:
                copy[name] = value
        return copy

    def _sets(self, original: Stored) -> dict[str, list[str]]:
        """Who may do what, with the groups of the bucket where it goes."""
        if not original.permissions.is_loaded:
            self.counts.hidden += 1
            return {}
        old, new = self.principals or ("", "")
        return {
            name: [new + who[len(old) :] if old and who.startswith(old) else who for who in people]
            for name, people in original.permissions.wanted().items()
        }

    def _is_there(self, conflict: Conflict, original: Stored, copy: Any, scope: Session) -> bool:
        """Whether what is there says the same, and lets the same people do the same.

        Raises:
            Misuse: It seems to be what is to be moved, and would be deleted.
        """
        if conflict.remote is None or _data(conflict.remote) != _data(copy):
            return False
        if self.move and conflict.remote.last_modified == original.last_modified:
            raise Misuse(
                f"{original.uri} has the same timestamp where it is and where it goes: that is one "
                "and the same object, or a replica. Nothing of it was deleted: use cp, and rm"
            )
        wanted = copy.permissions.wanted()
        now = scope.get(type(copy), copy.id).permissions if wanted else None
        if now is None or not now.is_loaded:
            return not wanted
        there = now.wanted()
        return all(set(people) <= set(there.get(name, ())) for name, people in wanted.items())

    def _take_away(self, originals: list[Any], source: Target) -> None:
        """Delete what was copied, if it is still as it was and nothing is left inside."""
        wanted = [each for each in originals if self._is_empty(each)]
        # In the scope in which they were read: a whole path may be of any bucket.
        summary = model_of(source, self.source)[1].delete_all(wanted)
        self.counts.deleted += summary.deleted
        for failure in summary.failed:
            self._failed(failure.error)
        if summary.stopped is not None:
            raise summary.stopped

    def _is_empty(self, original: Stored) -> bool:
        left = sum(each.count() for each in inside_of(original).values())
        if left:
            self.counts.failed += 1
            self.counts.status = max(self.counts.status, 1)
            tell(f"{original.uri} stays: {left} objects are left inside")
        return not left

    def _failed(self, error: Exception) -> None:
        self.counts.failed += 1
        if self.counts.failed == _SAID + 1:
            tell("and so on; no more failures are said, but counted")
        status = failure_of(error) if self.counts.failed <= _SAID else 1
        if status is None:
            raise error
        self.counts.status = max(self.counts.status, status)


_INSIDE = {"buckets": ("groups", "collections"), "collections": ("records",)}


def _data(found: Stored) -> Mapping[str, Any]:
    """What two objects have in common when one is a copy of the other."""
    server_made = {*NOT_DATA, *(["schema"] if isinstance(found, Record) else ())}
    return {name: value for name, value in stored(found).items() if name not in server_made}


def _explained(conflict: Conflict) -> Conflict:
    """The same conflict, with what is different."""
    there, wanted = conflict.remote, conflict.local
    if there is not None and wanted is not None:
        now, then = _data(there), _data(wanted)
        names = now.keys() | then.keys()
        differing = frozenset(name for name in names if now.get(name) != then.get(name))
        conflict.fields = differing or frozenset({"permissions"})
    return conflict


def _chunks(objects: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(objects)
    while chunk := list(islice(rest, _AT_ONCE)):
        yield chunk
