"""What a template may turn into text: values, and never code.

Functions, methods, macros, iterators and Jinja2's own objects may be called, compared, kept in
variables and given to macros. Whatever could write one (a filter, a format, a method of a text)
gets values only, so that no name of a Python object and no address reaches a text or an error.
"""

from __future__ import annotations

import types
from collections.abc import Callable, ItemsView, Iterator, KeysView, ValuesView
from typing import Any, NoReturn

from jinja2 import ChainableUndefined, StrictUndefined, Undefined
from jinja2.environment import TemplateModule
from jinja2.runtime import BlockReference, LoopContext, Macro

from kinto_orm.errors import TemplateError
from kinto_orm.rendering import limits as sizes

CODE = (types.GeneratorType, types.FunctionType, types.MethodType, types.BuiltinMethodType)

_SCALARS = (str, int, float, type(None))
_VIEWS = (KeysView, ValuesView, ItemsView)
VALUES = (*_SCALARS, complex, bytes, list, tuple, set, frozenset, dict, range, *_VIEWS, Undefined)
_TAKES_CODE = (Macro, LoopContext, BlockReference, type)


class Strict(StrictUndefined):
    """A value that is not there: an error also where Jinja2 would write `Undefined`."""

    __slots__ = ()
    __repr__ = StrictUndefined._fail_with_undefined_error


class Lenient(ChainableUndefined):
    """A value that is not there and is nothing, `None` inside of lists and mappings."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "None"


class Items(Iterator[Any]):
    """What a filter gives one by one: only values, within the limit for one value.

    Args:
        items: They come from here.
        limit: The size of all of them.
        tick: Called before each.
    """

    def __init__(self, items: Iterator[Any], limit: int, tick: Callable[[], None]) -> None:
        self._items = items
        self._limit = limit
        self._tick = tick
        self._size = 0

    def __next__(self) -> Any:
        item = next(self._items)
        self._tick()
        self._size += measure(item, self._limit) + sizes.ITEM
        sizes.fits(self._size, self._limit)
        return item

    def __repr__(self) -> str:
        raise TemplateError(unwritable(self))


def measure(value: object, limit: int) -> int:
    """Tell the size of a value with all that stands inside it.

    Raises:
        RenderLimit: It is over the limit.
        TemplateError: It is code, or holds some.
    """
    return len(value) if type(value) is str else sizes.weigh(value, limit, _refuse_code)


def measure_given(given: object, limit: int) -> None:
    """Do the same for the arguments of a filter, which may be iterators as well."""
    sizes.weigh(given, limit, _refuse_code_but_items)


def text_of_module(value: Any) -> Any:
    """Give the text of an imported template, and everything else as it is."""
    return str(value) if isinstance(value, TemplateModule) else value


def takes_values_only(function: object) -> bool:
    """Tell whether this may not be called with code."""
    owner = getattr(function, "__self__", None)
    return not isinstance(function, _TAKES_CODE) and not isinstance(owner, LoopContext)


def to_json(value: object) -> None:
    """Give what JSON has for a value that it does not know: null for a missing one.

    Raises:
        TemplateError: There is no such thing.
    """
    if isinstance(value, Lenient):
        return
    if isinstance(value, Undefined):
        value._fail_with_undefined_error()
    raise TemplateError(f"{_named(value)} is no JSON value: make a list of it with |list")


def _refuse_code(value: object) -> None:
    if not isinstance(value, VALUES):
        _refuse(value)


def _refuse_code_but_items(value: object) -> None:
    if not isinstance(value, (*VALUES, Items)):
        _refuse(value)


def _refuse(value: object) -> NoReturn:
    raise TemplateError(unwritable(value))


def unwritable(value: object) -> str:
    """Say why something cannot be written, and what to do."""
    name = getattr(value, "name", None) or getattr(value, "__name__", "").lstrip("_").lower()
    if isinstance(value, Iterator):
        return "an iterator cannot be written: make a list of it with |list, or a text with |join"
    if isinstance(value, types.BuiltinMethodType):
        return (
            f"{name!r} is a method here, not a value: call it with (), or take the key of this "
            f"name with [{name!r}]"
        )
    if isinstance(value, (type, Macro, *CODE)):
        return f"{name!r} is a function, not a value: call it with ()"
    return (
        f"{_named(value)} is an object of Jinja2, not a value: a stored key of "
        "the same name is in values, as in values['self']"
    )


def _named(value: object) -> str:
    return type(value).__name__.strip("_")
