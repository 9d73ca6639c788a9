"""The options of a verb and the fields of a model, told apart where both are keywords."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kinto_orm.errors import InvalidData
from kinto_orm.wire.scope import Scope


def given_fields(
    model: type[Any],
    verb: str,
    fields: Mapping[str, object] | None,
    more: Mapping[str, object],
    options: Mapping[str, object],
    *,
    refused: Iterable[str] = (),
) -> dict[str, object]:
    """The fields that a verb was given, as a mapping or as keywords.

    Args:
        model: Whose fields they are.
        verb: How the call begins, for messages: "update(" or "get_or_create('x', ".
        fields: The mapping: every name in it is a field's.
        more: The keywords that are no options.
        options: The options that are keywords, by name; None for one that was not given.
        refused: Names that the verb does not set.

    Raises:
        TypeError: A keyword may be meant as an option and as a field, a field is given twice, or
            the verb does not set it.
    """
    if fields is None:
        _refuse_doubtful(model, verb, options)
        fields = {}
    elif not isinstance(fields, Mapping):
        raise TypeError(f"{verb}...) takes fields as a mapping or as keywords, not {fields!r:.80}")
    _refuse_defaults(model, verb, more)
    twice = sorted(fields.keys() & more.keys() - model.__kinto_keywords__)
    if twice:
        raise TypeError(f"{verb}...) was given the field {twice[0]!r} twice")
    found = {**fields, **more}
    for name in refused:
        if name in found:
            raise TypeError(f"{verb}...) does not set the {name} of a {model.__name__}")
    return found


def _refuse_defaults(model: type[Any], verb: str, more: Mapping[str, object]) -> None:
    """Refuse Django's `defaults={...}` on a model that has no such field."""
    is_mapping = isinstance(more.get("defaults"), Mapping)
    if is_mapping and not model.__kinto_open__ and "defaults" not in model.__kinto_field_names__():
        raise TypeError(
            f"{verb}...) takes the fields themselves: write {verb}{{...}}), or give them as "
            "keywords"
        )


def _refuse_doubtful(model: type[Any], verb: str, options: Mapping[str, object]) -> None:
    for name, value in options.items():
        if name == "session" and not isinstance(value, Scope | None):
            raise TypeError(
                f"session= is an option of {verb}...), a Session, not {value!r:.80}; a field of "
                f"that name is given as {verb}{{'session': ...}})"
            )
        if value is not None and name in model.__kinto_field_names__():
            raise TypeError(
                f"{model.__name__} has a field {name!r}, and {verb}...) an option {name!r}: to set "
                f"the field write {verb}{{{name!r}: ...}}); with the fields in such a mapping "
                f"{name}= is the option"
            )


def positive(value: int, what: str) -> int:
    """The same number, if it is 1 or more.

    Raises:
        InvalidData: It is something else.
    """
    if not isinstance(value, int) or value < 1:
        raise InvalidData(f"{what} must be 1 or more, not {value!r}")
    return value
