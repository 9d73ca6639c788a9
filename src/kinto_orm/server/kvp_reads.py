"""The `reads` of an account: how many values, lists and templates it was given.

The count is kept in Kinto's storage backend, outside of every bucket, so that it lives as long as
the data and is nobody's to edit. Each read is counted in a transaction of its own after the
answer is ready, so that readers never make each other fail.
"""

from __future__ import annotations

import logging
import threading
from typing import Any, Final

from kinto.core.storage.exceptions import BackendError, ObjectNotFoundError
from pyramid.config import Configurator
from pyramid.registry import Registry
from pyramid.request import Request

logger = logging.getLogger(__name__)

_RESOURCE: Final = "kvp-reads"
_ID: Final = "reads"

# One statement, so that no count is lost whoever else is counting. The row that was to be
# inserted has got its last_modified from Kinto's trigger.
_COUNT: Final = """
INSERT INTO objects (id, parent_id, resource_name, data, last_modified, deleted)
VALUES (:id, :parent, :resource, '{"reads": 1}', NULL, FALSE)
ON CONFLICT (id, parent_id, resource_name) DO UPDATE
SET data = jsonb_build_object('reads', (objects.data->>'reads')::bigint + 1),
    last_modified = EXCLUDED.last_modified
"""


def setup(config: Configurator) -> None:
    """Make the lock of this process."""
    config.registry.kvp_reads_lock = threading.Lock()


def count_when_done(request: Request, account: str) -> None:
    """Count one read of an account when this request has been answered.

    Args:
        request: The request that reads.
        account: The account's principal.
    """
    # After the transaction's end, when its connection is free again.
    request.add_finished_callback(lambda done: _count(done.registry, account))


def reads(registry: Registry, account: str) -> int:
    """Give the number of reads of an account.

    Args:
        registry: The application's registry.
        account: The account's principal.
    """
    return _reads(registry.storage, account)


def _reads(storage: Any, account: str) -> int:
    try:
        stored = storage.get(_RESOURCE, _parent(account), _ID)
    except ObjectNotFoundError:
        return 0
    return int(stored["reads"])


def _count(registry: Registry, account: str) -> None:
    try:
        if hasattr(registry.storage, "client"):
            _count_in_database(registry, account)
        elif hasattr(registry.storage, "alone"):
            with registry.storage.alone() as storage:
                _count_one_more(storage, account)
        else:
            with registry.kvp_reads_lock:
                _count_one_more(registry.storage, account)
    except BackendError:
        logger.exception("a read of %s was not counted", account)


def _count_one_more(storage: Any, account: str) -> None:
    record = {"reads": _reads(storage, account) + 1}
    storage.update(_RESOURCE, _parent(account), _ID, record)


def _count_in_database(registry: Registry, account: str) -> None:
    from sqlalchemy import text
    from sqlalchemy.exc import SQLAlchemyError

    engine = registry.storage.client.session_factory.get_bind()
    row = {"id": _ID, "parent": _parent(account), "resource": _RESOURCE}
    try:
        with engine.connect().execution_options(isolation_level="READ COMMITTED") as connection:
            connection.execute(text(_COUNT), row)
            connection.commit()
    except SQLAlchemyError as error:
        raise BackendError(original=error) from error


def _parent(account: str) -> str:
    return f"/kvp-accounts/{account}"
