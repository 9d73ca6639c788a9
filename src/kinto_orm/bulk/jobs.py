"""A flow in a queue: it is taken step by step, and what became of it is its outcome."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeGuard, TypeVar, get_args

from kinto_orm._shown import Described
from kinto_orm.errors import KintoError, ServerError, TransportError, again, wrong_option
from kinto_orm.wire.attempts import BUSY
from kinto_orm.wire.flows import Flow, Step
from kinto_orm.wire.messages import Reply, Request
from kinto_orm.wire.scope import Scope

T = TypeVar("T")
Act = Literal["save", "delete", "get", "refresh", "set"]
Existing = Literal["fail", "update", "replace", "skip"]
"""What becomes of a new object whose id is on the server already."""

_MEANINGS = {"delete": "deleted", "get": "fetched", "refresh": "fetched", "set": "stored"}
_VERBS = ("__kinto_save__", "__kinto_delete__", "__kinto_refresh__")


@dataclass(slots=True, eq=False, repr=False)
class Outcome(Described, Generic[T]):
    """What became of one operation of a batch.

    Attributes:
        act: "save", "delete", "get", "refresh" or "set".
        target: The object; for a get, the id; for a key value, its path.
        result: What the operation gives: the object, or a Tombstone; None before it ran, after a
            failure, and for key values.
        error: Why it failed; None when it did not.
        status: "created", "updated", "unchanged", "skipped", "deleted", "fetched", "stored" (a key
            value), "failed" or "queued".
    """

    act: Act
    target: Any
    result: T | None = None
    error: Exception | None = None
    status: str = "queued"


class Savable(Protocol):
    """What can be saved: an object of a model, or its permissions."""

    @property
    def __kinto_name__(self) -> str: ...
    def __kinto_save__(
        self, given: Scope | None, *, force: bool = False, last_modified: int | None = None
    ) -> Flow[Any]: ...


class Storable(Savable, Protocol):
    """What can be saved, deleted and refreshed: an object of a model."""

    def __kinto_delete__(
        self, given: Scope | None, *, missing_ok: bool = False, force: bool = False
    ) -> Flow[Any]: ...
    def __kinto_refresh__(
        self, given: Scope | None, *, keep_changes: bool = False, whole: bool = False
    ) -> Flow[Any]: ...


class Upsertable(Savable, Protocol):
    """What may be saved over what is there."""

    id: str

    def __kinto_upsert__(
        self,
        given: Scope | None,
        existing: Existing,
        *,
        last_modified: int | None = None,
        there: Any = None,
        equal: bool = False,
    ) -> Flow[Any]: ...
    @classmethod
    def __kinto_there__(
        cls,
        objects: Sequence[Any],
        given: Scope | None,
        existing: Existing,
        *,
        equal: bool = False,
    ) -> Flow[Mapping[int, Any]]: ...


def check_existing(existing: str, *, force: bool = False) -> None:
    """Refuse what is no answer to the question what becomes of existing objects.

    Raises:
        InvalidData: It is none.
        TypeError: `force` answers the same question.
    """
    if existing not in get_args(Existing):
        names = ", ".join(map(repr, get_args(Existing)))
        raise wrong_option(f"existing= is one of {names}, not {existing!r}")
    if force and existing != "fail":
        raise TypeError(
            f"force=True overwrites whatever is there, and existing={existing!r} looks first: "
            "give one of them"
        )


def savable(*objects: object) -> tuple[Savable, ...]:
    """The same objects, if all of them can be saved.

    Raises:
        TypeError: One of them is something else, such as a list.
    """
    _require(objects, _VERBS[:1])
    return objects  # type: ignore[return-value]


def storable(*objects: object) -> tuple[Storable, ...]:
    """The same objects, if all of them can be saved, deleted and refreshed.

    Raises:
        TypeError: One of them is something else, such as a list.
    """
    _require(objects, _VERBS)
    return objects  # type: ignore[return-value]


def subject_of(target: Any, scope: Scope) -> Hashable:
    """What a write works on: equal for all that is stored under one address.

    Args:
        target: An object, or its permissions; of anything else, that alone.
        scope: Over which it is written.
    """
    owner = getattr(target, "__kinto_owner__", target)
    address = getattr(owner, "__kinto_address__", None)
    known = None if address is None or isinstance(owner, type) else address(scope)
    return id(owner) if known is None else known


def checked_objects(*objects: T) -> tuple[T, ...]:
    """The same objects, if all of them can be saved; see `storable`."""
    storable(*objects)
    return objects


def _require(objects: Sequence[object], verbs: Sequence[str]) -> None:
    for each in objects:
        if isinstance(each, type) or not all(hasattr(each, verb) for verb in verbs):
            raise TypeError(
                f"objects of models are needed, such as records, not {type(each).__name__} "
                f"({each!r:.80}); write *objects for a list of them"
            )


class Job:
    """An operation in the queue; its flow is made when its turn comes.

    Args:
        outcome: What becomes of it.
        make: Makes its flow.
        subject: What it works on, equal for two jobs on one thing; None: the outcome's target.

    Attributes:
        subject: As it was given, or what tells the target from other objects.
        step: What the flow wants done next; None before it began and after it has ended.
        sent: Whether anything was asked of the server for it.
    """

    __slots__ = ("_flow", "_make", "outcome", "sent", "step", "subject")

    def __init__(
        self,
        outcome: Outcome[Any],
        make: Callable[[], Flow[Any]],
        subject: Hashable | None = None,
    ) -> None:
        self.outcome = outcome
        self.subject: Hashable = id(outcome.target) if subject is None else subject
        self.step: Step | None = None
        self.sent = False
        self._make = make
        self._flow: Flow[Any] | None = None

    def start(self) -> None:
        """Make the flow, and go to its first step."""

        def first() -> Step:
            self._flow = self._make()
            return next(self._flow)

        self._go(first)

    def answer(self, answer: Any) -> None:
        """Hand the flow what it waits for, and go to its next step."""
        flow = self._running
        self._go(lambda: flow.send(answer))

    def refuse(self, error: BaseException) -> None:
        """Let the flow know that its step failed, and go to its next step, if it has one."""
        flow = self._running
        self._go(lambda: flow.throw(error))

    def abandon(self, error: BaseException) -> None:
        """Let the flow know that nobody waits for its answer any more.

        What was begun has failed: nobody knows what the server did, and doing it twice may be more
        than doing it once. The rest stays queued, and is made anew when it is run again.
        """
        if self._flow is None or self.outcome.status != "queued":
            return
        if isinstance(error, Exception):
            ended = self._thrown(error)
            self._fail(ended if isinstance(ended, Exception) else error)
        elif self.sent:
            self._thrown(error)
            self._fail(self._unawaited(error))
        else:
            self._thrown(self._unsent())
        self.step = None

    def _thrown(self, error: BaseException) -> BaseException | None:
        """What the flow ends in when this is the answer to its step; None for nothing."""
        try:
            self._running.throw(error)
        except StopIteration:
            return None
        except BaseException as ended:  # noqa: BLE001  (what interrupts goes on by itself)
            return ended
        return None

    @property
    def _running(self) -> Flow[Any]:
        assert self._flow is not None  # noqa: S101  (for the type checker)
        return self._flow

    def _go(self, move: Callable[[], Step]) -> None:
        try:
            self.step = move()
        except StopIteration as end:
            self._end(end.value)
        except Exception as error:  # noqa: BLE001  (its own outcome, whatever it is)
            self._fail(error)

    def _end(self, result: Any) -> None:
        self.step = None
        act = self.outcome.act
        # A save says what it was, and gives the object.
        self.outcome.result = self.outcome.target if act == "save" else result
        self.outcome.status = _MEANINGS.get(act) or result

    def _fail(self, error: Exception) -> None:
        self.step = None
        self.outcome.error = error
        self.outcome.status = "failed"

    def leave(self, error: KintoError) -> None:
        """Fail without having tried, because the server is gone."""
        failure = again(error, f"cannot {self._doing}, which was not sent: {error}")
        failure.lost = False
        self._fail(failure)

    def _unawaited(self, error: BaseException) -> TransportError:
        return TransportError(
            f"cannot {self._doing}: the batch was stopped ({type(error).__name__}), and nobody "
            "waited for the answer. It may have been done or not, and the next run of the batch "
            "does not send it: look at what is there, and queue it again if it was not done."
        )

    def _unsent(self) -> TransportError:
        error = TransportError(f"cannot {self._doing}: the batch was stopped before it was sent")
        error.lost = False
        return error

    @property
    def _doing(self) -> str:
        """The act and its object, for messages."""
        target = self.outcome.target
        return f"{self.outcome.act} {getattr(target, '__kinto_name__', None) or repr(target)}"

    @property
    def request(self) -> Request | None:
        """The request that it waits for; None when it waits for something else."""
        return self.step if isinstance(self.step, Request) else None


class Chunk:
    """Objects that are written together.

    Args:
        objects: The objects.

    Attributes:
        objects: As given.
        ids: Their ids, wherever they live.
    """

    def __init__(self, objects: list[Any]) -> None:
        self.objects = objects
        ids = (getattr(each, "id", None) for each in objects)
        self.ids = frozenset(id for id in ids if isinstance(id, str))

    def before(self, others: Mapping[T, Chunk]) -> set[T]:
        """Which of others, that are under way, have to be done before this one is begun.

        What is written to one address is written in the order in which it was given. That these
        live in different collections is rare, and nobody knows it without asking.
        """
        return {each for each, other in others.items() if not self.ids.isdisjoint(other.ids)}


def is_outage(error: Exception | None) -> TypeGuard[KintoError]:
    """Whether an error says that nobody is there, or that everybody is busy."""
    busy = isinstance(error, ServerError) and error.status in BUSY
    return busy or isinstance(error, TransportError)


def is_busy(reply: Reply) -> bool:
    """Whether an answer says "not now"."""
    return reply.status in BUSY


class Outage:
    """Notices that a server is gone: two operations or more were sent, and none was answered.

    Attributes:
        error: What the last of them ended in; None while the server is there.
    """

    def __init__(self) -> None:
        self.error: KintoError | None = None
        self._silent = 0

    def after(self, jobs: Sequence[Job]) -> KintoError | None:
        """Look at jobs that were run; give the error when the server is gone by now."""
        sent = [job.outcome.error for job in jobs if job.sent]
        errors = [error for error in sent if is_outage(error)]
        self._silent = self._silent + len(errors) if len(errors) == len(sent) else 0
        if errors and self._silent > 1:
            self.error = errors[-1]
        return self.error
