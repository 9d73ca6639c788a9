"""Keeping in mind that the server may have done a write to which no answer came."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from kinto_orm.errors import KintoError
from kinto_orm.models.contents import is_new
from kinto_orm.models.permissions import Permissions
from kinto_orm.models.state import own_state, state_of
from kinto_orm.models.stored import Stored


class Doubting:
    """What ends this block without a clear answer is remembered by the object.

    Its next write then takes an equal value on the server for what it may be: its own.

    Args:
        stored: The object that is written.
    """

    __slots__ = ("_stored",)

    def __init__(self, stored: Stored) -> None:
        self._stored = stored

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # An interrupt came while the answer was awaited; what else is wrong was wrong here.
        lost = error.lost if isinstance(error, KintoError) else not isinstance(error, Exception)
        if error is not None and lost:
            own_state(self._stored).doubt = True
            if not is_new(self._stored):
                _doubt_permissions(self._stored)


def _doubt_permissions(stored: Stored) -> None:
    """Keep in mind that the server may have the permissions that were on their way."""
    held = state_of(stored).permissions
    if isinstance(held, Permissions) and held.is_changed:
        held.lose(held.snapshot())
