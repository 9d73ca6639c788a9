"""Fixtures for the tests of programs that use this library; pytest finds them by itself."""

from typing import TYPE_CHECKING, Any

from kinto_orm.testing.plugin import (
    kinto_async_session,
    kinto_factory,
    kinto_faults,
    kinto_server,
    kinto_session,
)

if TYPE_CHECKING:
    from kinto_orm.testing.factory import Factory

__all__ = [
    "Factory",
    "kinto_async_session",
    "kinto_factory",
    "kinto_faults",
    "kinto_server",
    "kinto_session",
]


def __getattr__(name: str) -> Any:
    if name != "Factory":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # A test run that needs none pays for none of what it imports.
    from kinto_orm.testing.factory import Factory

    return Factory
