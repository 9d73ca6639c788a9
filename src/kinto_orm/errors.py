"""What can go wrong, one class for each remedy.

KintoError
├── ConfigurationError        no session, no collection, a missing extra, a bad URL
│   ├── ModelError            a model class that cannot be, refused when it is defined
│   └── NotLoaded             permissions or fields that were never fetched
├── TransportError            no answer
│   ├── ConnectFailed         the server cannot be reached
│   ├── Timeout               it was reached and did not answer in time
│   ├── BadReply              an answer that is not JSON, or is cut off
│   └── BackoffError          the server asked to wait for longer than the deadline
├── ResponseError             the server refused: .status .errno .details .request
│   ├── Unauthorized          401
│   ├── Forbidden             403
│   ├── NotFound              404 (.resource says what is missing)
│   ├── InvalidData           400 and its kin; also raised before sending
│   ├── Unsupported           405, 410, or the server lacks the capability
│   ├── Conflict              409, 412, or the object is gone
│   └── ServerError           5xx
├── CollectionReset           a followed collection was emptied or made anew
├── MultipleFound             a LookupError: one object was asked for, several are there
├── BatchError                an ExceptionGroup of what failed in a batch
├── KeyNotFound               a KeyError: nothing at that key path
├── PathError                 a ValueError: a key path that cannot be followed
└── TemplateError             .name .lineno
    ├── TemplateSyntaxError   it does not parse, or names an unknown filter or test
    ├── UndefinedVariable     it uses a value that is not there
    └── RenderLimit           it was stopped: too long, too large, too deep
        └── RenderBusy        it did not begin: too many renders were going on
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, Protocol, Self

from kinto_orm._shown import Shown, Table, compared, line


class Sent(Protocol):
    """What an error shows of the request that was refused: `error.request`."""

    method: str
    path: str
    query: str

    @property
    def target(self) -> str: ...  # noqa: D102


class KintoError(Exception):
    """The root of all that this library raises.

    Attributes:
        lost: Whether the server may have done the work although no answer said so: the
            connection broke after the request was sent, the answer came too late or cannot be
            read, or a gateway gave it up.
        of_hook: Whether a hook of a model raised it, so that it says nothing of the write around.
    """

    lost: bool = False
    of_hook: bool = False

    def __repr__(self) -> str:
        return line(super().__repr__())


def again(error: KintoError, message: str) -> KintoError:
    """The same error with another message; it knows as much of what the server did."""
    made = type(error)(message)
    vars(made).update(vars(error))
    return made


def sentence(said: object) -> str:
    """A message of an error with the full stop that it may lack, so that another can follow."""
    text = str(said)
    return text if text.endswith((".", "?", "!")) else f"{text}."


class ConfigurationError(KintoError):
    """The program has to be changed: no session, no collection, a missing extra, a bad URL."""


class ModelError(ConfigurationError, TypeError):
    """This model class cannot be: a field's name clashes, or a class keyword is wrong."""


class NotLoaded(ConfigurationError, AttributeError):
    """What is asked for was never fetched from the server; the message says how to fetch it."""


class TransportError(KintoError):
    """No usable answer came. `.lost` says whether the server may have done the work."""

    lost = True


class ConnectFailed(TransportError):
    """The server cannot be reached: unknown host, refused port, a connection that breaks."""


class Timeout(TransportError, TimeoutError):
    """The server did not answer in time."""


class BadReply(TransportError):
    """What came back is no answer of a Kinto server: not JSON, or cut off in the middle."""


class BackoffError(TransportError):
    """The server asked to wait for longer than the call's deadline allows."""

    lost = False


class ResponseError(KintoError):
    """The server refused the request.

    Args:
        message: What was being done to which object, what the server said, and the remedy.
        status: The HTTP status; None when the library refused before sending, 400 for data.
        errno: Kinto's error number, as listed in its documentation of error responses.
        details: Kinto's `details`, a JSON object.
        request: The request that was refused, without credentials.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        errno: int | None = None,
        details: dict[str, Any] | None = None,
        request: Sent | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.errno = errno
        self.details = details or {}
        self.request = request


class Unauthorized(ResponseError):
    """401: no credentials, or wrong ones."""


class Forbidden(ResponseError):
    """403: not allowed, or the bucket does not exist; Kinto does not tell these apart."""


class NotFound(ResponseError):
    """404: `.resource` says what is missing: record, collection, group, bucket."""

    @property
    def resource(self) -> str | None:
        """What the server calls the missing thing: record, collection, group or bucket."""
        name = self.details.get("resource_name")
        return name if isinstance(name, str) else None


class InvalidData(ResponseError, ValueError):
    """The server refuses this data (400), or the library knows that it would: then, too, 400.

    None is the status where stored data does not fit its model: then nobody's request was wrong.
    """

    def __init__(self, message: str, *, status: int | None = 400, **told: Any) -> None:
        super().__init__(message, status=status, **told)

    @property
    def names(self) -> list[str]:
        """What the server names in its refusal: fields as they are stored, such as "data.id"."""
        named = self.details.get("errors", [])
        return [str(each["name"]) for each in named if isinstance(each, dict) and "name" in each]


def wrong_option(message: str) -> InvalidData:
    """What to raise for a value that an option does not take; nothing was sent.

    An argument of another kind, or two that exclude each other, is a TypeError.
    """
    return InvalidData(message)


class Unsupported(ResponseError):
    """405, 410, or a capability that the server does not have."""


class ServerError(ResponseError):
    """5xx: the server failed. It may or may not have done the work."""


class Conflict(Shown, ResponseError):
    """Somebody else was first: the object changed, exists already, or is gone.

    Attributes:
        base: The object as it was loaded, None when it was new.
        local: The object that was to be written, with its changes.
        remote: The object as it now is on the server, None when it is gone (and where its
            permissions alone were to be written). Where it does not
            fit the class of `local`, an object of the class of its own kind, or of the nearest
            class above that it fits: the last is `Record`.
        unfit: Why what is there does not fit the class of `local`: an `InvalidData`; None
            otherwise. Then nothing can be merged.
        fields: The names of the fields that both sides changed to different values. Of objects
            and sets, only where they changed the same in them.
        contested: The same more exactly: the ways to the values that both changed, such as
            `("address", "city")`.
        decided: What `merge()` did: for each way to a value that differed between the two, whose
            was taken: "local", "remote", or "both" for sets that were put together. Empty
            before.
        unconfirmed: An earlier answer was lost. Either this very write was done, and perhaps
            changed again since, or somebody else wrote. Nothing tells which. Where the server
            has what was to be written, `fields` is empty.
    """

    base: Any = None
    local: Any = None
    remote: Any = None
    fields: frozenset[str] = frozenset()
    contested: frozenset[tuple[str, ...]] = frozenset()
    decided: Mapping[tuple[str, ...], Literal["local", "remote", "both"]] = MappingProxyType({})
    unconfirmed: bool = False
    unfit: InvalidData | None = None
    merger: Callable[[Conflict, Literal["local", "remote"] | None], Any] | None = None

    def __kinto_table__(self) -> Table:
        sides = {"base": self.base, "local": self.local, "remote": self.remote}
        names = {} if self.local is None else self.local.__kinto_names__()
        fields = {names.get(each, each) for each in self.fields}
        return compared(type(self).__name__, sides, fields, str(self))

    def merge(self, prefer: Literal["local", "remote"] | None = None) -> Any:
        """Put the two changes together: a three-way merge.

        Objects (nested models, dictionaries, fields that are not declared) are merged by their
        keys; fields that are declared as sets, and the members of a group, by their items.
        All else is one value: a list, too, and an object that is of another class on one side.
        The local object is brought up to date in place and keeps its own changes; it is not
        sent. `decided` says whose value was taken where.

        Args:
            prefer: Whose value wins where both changed it. None: nobody's.

        Returns:
            The local object, ready to save.

        Raises:
            Conflict: This one again, when both sides changed a value and `prefer` is None, when
                the two changes do not fit the model together, when what is there does not fit
                it (`unfit`), or when the object is gone and `prefer` is not "local". The local
                object is as it was.
            InvalidData: `prefer` is something else.
        """
        if prefer not in (None, "local", "remote"):
            raise wrong_option(f"prefer must be None, 'local' or 'remote', not {prefer!r}")
        if self.merger is None:
            raise self
        merged = self.merger(self, prefer)
        # What it knows of the other side is used up: merging again would bring back old values.
        self.merger = None
        return merged


class CollectionReset(KintoError):
    """A collection that is followed was emptied or made anew; start again with since=None."""


class MultipleFound(KintoError, LookupError):
    """Query.one() was asked for the only object, and there are several."""


class BatchError(KintoError, ExceptionGroup[Exception]):
    """Some operations of a batch failed; what succeeded stays succeeded.

    `.exceptions` has one error for each failure, in the order of the queue.
    """

    def __new__(cls, message: str, exceptions: Sequence[Exception]) -> Self:
        """Make the group; `exceptions` must not be empty."""
        return super().__new__(cls, message, exceptions)

    def derive(self, excs: Sequence[Exception], /) -> BatchError:  # type: ignore[override]
        """Make the part of the group that `except*` and `split` ask for."""
        return BatchError(self.message, excs)


class KeyNotFound(KintoError, KeyError):
    """There is no value at this key path."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class PathError(KintoError, ValueError):
    """This key path cannot be followed or is not well formed; the message names the segment."""


class TemplateError(KintoError):
    """A template cannot be saved or rendered.

    Args:
        message: What is wrong.
        name: The template in which it is wrong.
        lineno: The line, 1-based; None where there is none.
    """

    def __init__(self, message: str, *, name: str | None = None, lineno: int | None = None) -> None:
        super().__init__(message)
        self.name = name
        self.lineno = lineno

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_template_error, (type(self), str(self), self.name, self.lineno)


class TemplateSyntaxError(TemplateError):
    """The template does not parse, or names an unknown filter or test."""


class UndefinedVariable(TemplateError):
    """The template uses a value that is not there."""


class RenderLimit(TemplateError):
    """Rendering was stopped; the message names the limit."""


class RenderBusy(RenderLimit):
    """Rendering did not begin, since too many renders were going on: try again later."""


def _rebuild_template_error(
    cls: type[TemplateError], message: str, name: str | None, lineno: int | None
) -> TemplateError:
    return cls(message, name=name, lineno=lineno)


# What a web service answers; a class that is not here answers as the one above it.
_HTTP_STATUS: dict[type[BaseException], int] = {
    Exception: 500,
    TransportError: 503,
    Timeout: 504,
    BadReply: 502,
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    InvalidData: 422,
    Conflict: 409,
    ServerError: 503,
    KeyNotFound: 404,
    PathError: 422,
    RenderBusy: 503,
}


def http_status(error: Exception) -> int:
    """What a web service should answer when this error reaches it.

    Args:
        error: Any; also Pydantic's ValidationError.

    Returns:
        404 for what is not there, 409 for a Conflict, 422 for wrong data, 401 and 403 as the
        server said, 503 when the server is busy or cannot be reached, 504 when it did not answer
        in time, 502 for a bad answer. 500 for what is the service's own mistake, stored data that
        does not fit its model among them. For a BatchError the highest of its parts.
    """
    from pydantic import ValidationError

    if isinstance(error, BatchError):
        return max(map(http_status, error.exceptions))
    if isinstance(error, InvalidData) and error.status is None:
        return 500
    table = {**_HTTP_STATUS, ValidationError: 422}
    return next(table[cls] for cls in type(error).__mro__ if cls in table)
