"""What becomes of stored records that do not fit their model."""

from __future__ import annotations

from collections.abc import Callable
from inspect import isawaitable, iscoroutine, iscoroutinefunction
from typing import Any, Literal, NoReturn, TypeAlias, TypeVar

from pydantic import JsonValue

from kinto_orm.errors import ConfigurationError, InvalidData

M = TypeVar("M")

Raw: TypeAlias = dict[str, JsonValue]

OnInvalid: TypeAlias = Literal["raise", "skip"] | Callable[[Raw, InvalidData], M | None]
"""What a program says of them."""

OnUnfit: TypeAlias = Callable[[Raw, InvalidData], Any]
"""Gives what is used instead of one; None where it is left out."""


def checked_on_invalid(what: OnInvalid[M]) -> OnInvalid[M]:
    """Refuse what says nothing of them.

    Raises:
        TypeError: It is neither of the two words, nor a function.
        ConfigurationError: It is a coroutine function.
    """
    if iscoroutinefunction(what):
        _refuse_awaited(None)
    if what not in ("raise", "skip") and not callable(what):
        raise TypeError(
            f'on_invalid takes "raise", "skip" or a function that is given the record and the '
            f"error, not {what!r:.80}"
        )
    return what


def handler_of(what: OnInvalid[M], model: type[M]) -> OnUnfit | None:
    """What deals with them; None: it is an error.

    Args:
        what: As it was given.
        model: Of which an object may be used instead.
    """
    if what == "raise":
        return None
    if what == "skip":
        return _left_out

    def given(raw: Raw, error: InvalidData) -> M | None:
        found = what(raw, error)
        if isawaitable(found):
            _refuse_awaited(found)
        if found is not None and not isinstance(found, model):
            raise TypeError(
                f"the function of on_invalid has to give a {model.__name__}, or None to leave the "
                f"record out, not {found!r:.80}"
            )
        return found

    return given


def _refuse_awaited(given: object) -> NoReturn:
    if iscoroutine(given):
        given.close()
    raise ConfigurationError(
        "the function of on_invalid is not awaited: write a plain function (def). What needs "
        'awaiting is done with the objects afterwards; on_invalid="skip" leaves them out'
    )


def _left_out(raw: Raw, error: InvalidData) -> None:
    return None
