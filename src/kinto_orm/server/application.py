"""The Kinto application of an embedded server. Importing this module imports Kinto."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import kinto
import kinto.core
import kinto.core.storage.memory
import transaction
from kinto.authorization import RouteFactory
from kinto.core.cornice.service import SERVICES
from kinto.core.utils import hmac_digest, msec_time, native_value
from kinto.core.views import errors
from pyramid.config import Configurator

# It writes to the root logger, past what `quiet` does for Kinto's own.
errors.logger = logging.getLogger(errors.__name__)

MEMORY = {
    # The module, not its name: by the name the accounts plugin recognises it, and prints a
    # warning to stderr.
    "storage_backend": kinto.core.storage.memory,
    "permission_backend": "kinto.core.permission.memory",
    "cache_backend": "kinto.core.cache.memory",
}


def postgresql_settings(url: str) -> dict[str, Any]:
    """Make the settings that keep everything in one PostgreSQL.

    Args:
        url: The database, as SQLAlchemy writes it.
    """
    return {
        "storage_backend": "kinto.core.storage.postgresql",
        "storage_url": url,
        # If-Match is a read, then a write: only this level stops a second writer in between.
        # Permissions use the same connections; the cache has its own and needs none of it.
        "storage_isolation_level": "REPEATABLE READ",
        "permission_backend": "kinto.core.permission.postgresql",
        "permission_url": url,
        "cache_backend": "kinto.core.cache.postgresql",
        "cache_url": url,
    }


def sqlite_settings(path: Path) -> dict[str, Any]:
    """Make the settings that keep everything in one file.

    Args:
        path: The file, absolute.
    """
    url = f"sqlite:///{quote(str(path))}"
    return {
        "storage_backend": "kinto_orm.server.sqlite.storage",
        "storage_url": url,
        "permission_backend": "kinto_orm.server.sqlite.permission",
        "permission_url": url,
        # What the accounts plugin keeps for seconds would be a write for each read.
        "cache_backend": "kinto.core.cache.memory",
    }


_RESOURCES = ("account", "bucket", "collection", "group", "history", "record")
# Milliseconds. What is further ahead was told so by a client, and nobody waits for it.
_LONGEST_BURST = 1000


class Application:
    """A Kinto in this process: the WSGI application, and what is done to it from outside.

    Args:
        settings: All settings, without the prefix `kinto.`; environment variables change none.
        administrator: The credentials `"user:password"` of the one who may manage accounts.
    """

    def __init__(self, settings: Mapping[str, Any], administrator: str) -> None:
        principal = f"basicauth:{hmac_digest(settings['userid_hmac_secret'], administrator)}"
        settings = {"account_write_principals": principal, **settings}
        config = _Configurator(settings=dict(settings), root_factory=RouteFactory)
        config.registry.chosen = settings
        self._app = kinto.main({}, config=config)
        self._registry = config.registry
        _forget_repeated_services()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer one request (WSGI)."""
        # Both ways in give a body that can be read twice. Else WebOb copies one of more than
        # 10 kB into a temporary file, and leaves the closing to the garbage collector.
        environ["webob.is_body_seekable"] = True
        with _own_transaction():
            answer: Iterable[bytes] = self._app(environ, start_response)
            return answer

    def migrate(self) -> None:
        """Make the tables, or bring them up to date."""
        from kinto.core.scripts import migrate

        with _own_transaction():
            migrate({"registry": self._registry})

    def flush(self) -> None:
        """Delete everything: objects, permissions, accounts, history, cache.

        What comes later has a later time than anything before, though a burst of writes may have
        put the times ahead of the clock: an ETag from before is never met again.
        """
        with _own_transaction():
            newest = self._newest()
            for backend in self._backends():
                backend.flush()
        ahead = newest - msec_time()
        if 0 <= ahead < _LONGEST_BURST:
            time.sleep((ahead + 1) / 1000)

    def _newest(self) -> int:
        """The time of the last write, in milliseconds; 0 for none."""
        all_of = self._registry.storage.all_resources_timestamps
        return max((each for name in _RESOURCES for each in all_of(name).values()), default=0)

    def disconnect(self) -> None:
        """Close the connections to PostgreSQL and make Kinto forget them.

        Kinto keeps one client for each database URL for the life of the process, and would
        give the old one to the next application.
        """
        for client in self._forgotten_clients():
            client.session_factory.remove()
            client.session_factory.session_factory.kw["bind"].dispose()

    def forget_connections(self) -> None:
        """Do the same in a forked child, where the connections are the parent's: close none."""
        for client in self._forgotten_clients():
            client.session_factory.session_factory.kw["bind"].dispose(close=False)

    def _forgotten_clients(self) -> list[Any]:
        from kinto.core.storage.postgresql import client as postgresql

        ours = [backend.client for backend in self._backends() if hasattr(backend, "client")]
        for clients in postgresql._CLIENTS.values():
            for url in [url for url, client in clients.items() if client in ours]:
                del clients[url]
        return ours

    def _backends(self) -> tuple[Any, ...]:
        registry = self._registry
        return registry.storage, registry.permission, registry.cache


class _Configurator(Configurator):  # type: ignore[misc]
    """A configuration that the environment does not change.

    Kinto takes any setting from the environment, with or without its prefix. A variable
    STORAGE_URL or READONLY of the application must not reach the embedded Kinto.
    """

    def add_settings(self, settings: dict[str, Any] | None = None, **kw: object) -> None:
        super().add_settings(settings, **kw)
        if settings is self.registry.settings:  # so ends the reading of the environment
            chosen = {**kinto.core.DEFAULT_SETTINGS, **kinto.DEFAULT_SETTINGS}
            del chosen["settings_prefix"]
            chosen.update(self.registry.chosen)
            settings.update({name: native_value(value) for name, value in chosen.items()})


def _forget_repeated_services() -> None:
    """Keep the first of the services of each name.

    Each application adds its own to a list of the process, which only the page that describes
    the API reads. They would keep the whole application in memory after its end.
    """
    first: dict[str, Any] = {}
    for service in SERVICES:
        first.setdefault(service.name, service)
    SERVICES[:] = first.values()


@contextmanager
def _own_transaction() -> Iterator[None]:
    """Keep Kinto's transaction apart from one that the application has in this thread.

    Both would use the thread's transaction manager of the package `transaction`, and Kinto
    would abort the application's work when it begins.
    """
    outer = transaction.manager.manager
    transaction.manager.manager = transaction.TransactionManager()
    try:
        yield
    finally:
        # A database session joins one transaction at a time: left in one that nobody ends, it
        # would never join a later one, and what is written then would not be committed.
        transaction.abort()
        transaction.manager.manager = outer
