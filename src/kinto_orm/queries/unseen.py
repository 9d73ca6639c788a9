"""Values of secret fields in conditions: no message shows what a field is compared with."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from kinto_orm.errors import InvalidData

T = TypeVar("T")


def unseen(name: str, value: object, read: Callable[[], T]) -> T:
    """Read a value that a secret field is compared with; if that fails, say no more than its type.

    Args:
        name: The field, for the message; empty where it is not secret, and nothing changes.
        value: What it is compared with.
        read: Reads it.

    Raises:
        InvalidData: It cannot be compared with it.
    """
    if not name:
        return read()
    try:
        return read()
    except InvalidData:
        pass
    # Not within `except`: what is chained to an error may show the value.
    raise InvalidData(
        f"{name} cannot be compared with this {type(value).__name__}, which is not shown, for the "
        "field is secret: write a value of its type. A SecretStr needs a serializer of its own, "
        "else it is stored as asterisks"
    )
