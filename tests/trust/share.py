"""A part of what is tried, for `make test`: `make trust` tries all of it."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def share_of(things: Iterable[T], one_in: int, key: str = "") -> list[T]:
    """One in so many of them, and never none; which ones depends on their names only.

    Args:
        things: What there is.
        one_in: How many of which one is chosen.
        key: What tells this choice from others among the same.
    """
    shuffled = sorted(things, key=lambda each: zlib.crc32(f"{each} {key}".encode()))
    return shuffled[: -(-len(shuffled) // one_in)]
