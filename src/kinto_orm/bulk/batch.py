"""Several operations in one request, each with an outcome of its own. It is not a transaction."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeVar

from pydantic import JsonValue

from kinto_orm._shown import Rows, Shown, Table, of_rows
from kinto_orm.bulk.jobs import (
    Act,
    Existing,
    Job,
    Outcome,
    check_existing,
    savable,
    storable,
    subject_of,
)
from kinto_orm.bulk.together import together
from kinto_orm.errors import BatchError, ConfigurationError
from kinto_orm.wire.driving import run
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.scope import Scope

M = TypeVar("M")
M_co = TypeVar("M_co", covariant=True)


class Gettable(Protocol[M_co]):
    """A class whose objects can be fetched by their ids."""

    def __kinto_get__(self, scope: Scope, id: str) -> Flow[M_co]: ...


KeyPath = str | tuple[str, ...]


class Write(Protocol):
    """A write of key values that was checked, and not begun."""

    @property
    def key(self) -> str:
        """The root key."""

    def flow(self) -> Flow[None]:
        """Make the flow that does it; a new one each time."""


class KeyWriter(Protocol):
    """Key values as a batch needs them: `session.kv`."""

    def setting(self, path: KeyPath, value: JsonValue) -> Write:
        """Check what is to be stored."""

    def removing(self, path: KeyPath, missing_ok: bool) -> Write:
        """Check what is to be removed."""


class Queue(Shown):
    """Operations that are queued, to be sent together.

    Args:
        session: Over which it goes.
        kv: Gives the key values of its bucket.

    Attributes:
        outcomes: Of all that was queued, in order.
    """

    _opened: ClassVar[str]

    def __init__(self, session: Scope, *, kv: Callable[[], KeyWriter]) -> None:
        self._session = session
        self._queue: list[Job] = []
        self._is_over = False
        self._is_used = False
        self.outcomes: list[Outcome[Any]] = Rows()
        self._kv = kv

    def __repr__(self) -> str:
        queued = sum(each.status == "queued" for each in self.outcomes)
        return f"<{type(self).__name__} of {len(self.outcomes)} operations, {queued} to be sent>"

    def __kinto_table__(self) -> Table:
        return of_rows(repr(self)[1:-1], self.outcomes)

    def save(self, *objects: Any, force: bool = False, existing: Existing = "fail") -> None:
        """Queue `save()` of each object; an unchanged one sends nothing.

        Args:
            *objects: Of any classes. The `permissions` of an object serve, too; of them the
                difference is sent, whatever is said of the others.
            force: Overwrite without preconditions.
            existing: What becomes of a new object whose id is there already; see `save()`.
        """
        check_existing(existing, force=force)
        for each in savable(*objects):
            owner = getattr(each, "__kinto_owner__", each)
            make = partial(each.__kinto_save__, self._session, force=force)
            if existing != "fail" and owner is each:
                upsertable: Any = each
                make = partial(upsertable.__kinto_upsert__, self._session, existing)
            self._add("save", each, make, subject_of(owner, self._session))

    def delete(self, *objects: Any, missing_ok: bool = False, force: bool = False) -> None:
        """Queue `delete()` of each object.

        Args:
            *objects: Of any classes.
            missing_ok: Be content with those that are gone already.
            force: Delete without preconditions.
        """
        for each in storable(*objects):
            options = {"missing_ok": missing_ok, "force": force}
            make = partial(each.__kinto_delete__, self._session, **options)
            self._add("delete", each, make, subject_of(each, self._session))

    def refresh(self, *objects: Any, keep_changes: bool = False) -> None:
        """Queue `refresh()` of each object; see there for `keep_changes`."""
        for each in storable(*objects):
            options = {"keep_changes": keep_changes, "whole": True}
            make = partial(each.__kinto_refresh__, self._session, **options)
            self._add("refresh", each, make, subject_of(each, self._session))

    def get(self, model: Gettable[M], id: str) -> Outcome[M]:
        """Queue `Model.get(id)`; the object is in the outcome's `result` after the block."""
        return self._add("get", id, partial(model.__kinto_get__, self._session, id))

    @property
    def kv(self) -> KeyQueue:
        """Queues writes of key values."""
        return KeyQueue(self._kv, self._add)

    def running(self) -> Flow[list[Outcome[Any]]]:
        """Send what is queued; see `Batch.run`."""
        self._is_used = True
        queue, self._queue = self._queue, []
        try:
            yield from together(self._session, queue)
        finally:
            # What was not begun is sent by the next run, before what was queued meanwhile.
            self._queue[:0] = [job for job in queue if job.outcome.status == "queued"]
        errors = [job.outcome.error for job in queue if job.outcome.error is not None]
        if errors:
            raise BatchError(
                f"{len(errors)} of {len(queue)} operations failed, the others were done "
                "(a batch is no transaction)",
                errors,
            )
        return [job.outcome for job in queue]

    def _add(
        self,
        act: Act,
        target: object,
        make: Callable[[], Flow[Any]],
        subject: Hashable | None = None,
    ) -> Outcome[Any]:
        if self._is_over:
            raise ConfigurationError(
                "this batch is over: it was sent when its `with` block ended, and what is queued "
                "now would never be. Queue it inside of the block, or open another batch"
            )
        outcome: Outcome[Any] = Outcome(act, target)
        self._queue.append(Job(outcome, make, subject))
        self.outcomes.append(outcome)
        return outcome

    def __len__(self) -> int:
        return len(self._queue)

    def open(self) -> None:
        """Take operations, at the beginning of a block."""
        self._is_over, self._is_used = False, True

    def __del__(self) -> None:
        # As Python warns of a coroutine that nobody awaited.
        if self._queue and not self._is_used:
            warnings.warn(
                f"{len(self._queue)} operations of a batch were never sent: open it as "
                f"`{self._opened}`, which sends them at its end, or call run()",
                RuntimeWarning,
                stacklevel=2,
                source=self,
            )

    def is_to_be_sent(self, error: type[BaseException] | None) -> bool:
        """Whether what is queued is to be sent at the end of a block: after an error nothing is."""
        self._is_over = error is None
        return self._is_over

    @property
    def session(self) -> Scope:
        """Over which it goes."""
        return self._session


class Batch(Queue):
    """A queue of operations, sent in requests of `batch_max_requests` when the block ends.

    Objects are updated in place. What succeeded stays succeeded when something else fails.
    Operations on one object, by its id, are sent in the order in which they were queued. An
    exception inside the block sends nothing.

    Attributes:
        outcomes: Of all that was queued, in order.
    """

    _opened = "with session.batch() as batch:"

    def run(self) -> list[Outcome[Any]]:
        """Send what is queued; called at the end of the `with` block.

        Returns:
            The outcomes of all that was queued, in order.

        Raises:
            BatchError: Something failed; it has one exception for each failure.
        """
        return run(self.session, self.running())

    def __enter__(self) -> Self:
        self.open()
        return self

    if not TYPE_CHECKING:

        async def __aenter__(self):
            raise ConfigurationError("this batch blocks: write `with`, not `async with`")

        async def __aexit__(self, *exc):
            """Raise nothing: nobody gets here."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.is_to_be_sent(kind):
            self.run()


class KeyQueue:
    """The key values of a batch, `batch.kv`: what is written is queued with all else.

    Args:
        kv: Gives the key values of the session's bucket.
        add: Puts an operation into the queue: act, target, what makes its flow, its subject.
    """

    def __init__(self, kv: Callable[[], KeyWriter], add: Callable[..., Outcome[Any]]) -> None:
        self._kv = kv
        self._add = add

    def set(self, path: KeyPath, value: JsonValue) -> None:
        """Queue `kv.set(path, value)`; the value is stored as it is now.

        Args:
            path: The key path.
            value: Any JSON value.

        Raises:
            PathError: The path is not well formed.
            InvalidData: The server would change the value or cannot store it.
        """
        write = self._kv().setting(path, value)
        self._add("set", path, write.flow, ("kv", write.key))

    def delete(self, path: KeyPath, missing_ok: bool = False) -> None:
        """Queue `kv.delete(path)`.

        Args:
            path: The key path.
            missing_ok: Be content when nothing is there.

        Raises:
            PathError: The path is not well formed.
        """
        write = self._kv().removing(path, missing_ok)
        self._add("delete", path, write.flow, ("kv", write.key))
