"""Fixtures for the tests of programs that use this library; pytest finds them by itself."""

from kinto_orm.testing.plugin import (
    kinto_async_session,
    kinto_faults,
    kinto_server,
    kinto_session,
)

__all__ = ["kinto_async_session", "kinto_faults", "kinto_server", "kinto_session"]
