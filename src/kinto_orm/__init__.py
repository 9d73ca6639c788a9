"""Typed Pydantic models for data kept in a Kinto server.

Example:
    ```python
    from kinto_orm import Record, Session

    class Todo(Record, collection="todos"):
        title: str

    with Session("memory://"):
        Todo(title="Write the report").save()
    ```
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from kinto_orm._version import __version__

if TYPE_CHECKING:
    from kinto_orm.async_session import AsyncSession, SessionMiddleware
    from kinto_orm.bulk.batch import Batch
    from kinto_orm.bulk.jobs import Outcome
    from kinto_orm.bulk.many import Interrupted
    from kinto_orm.bulk.summary import Failure, Summary
    from kinto_orm.bulk.twins import AsyncBatch
    from kinto_orm.errors import (
        BackoffError,
        BadReply,
        BatchError,
        CollectionReset,
        ConfigurationError,
        Conflict,
        ConnectFailed,
        Forbidden,
        InvalidData,
        KeyNotFound,
        KintoError,
        ModelError,
        MultipleFound,
        NotFound,
        NotLoaded,
        PathError,
        RenderBusy,
        RenderLimit,
        ResponseError,
        ServerError,
        TemplateError,
        TemplateSyntaxError,
        Timeout,
        TransportError,
        Unauthorized,
        UndefinedVariable,
        Unsupported,
        http_status,
    )
    from kinto_orm.kv.history import KeysAt, KeyVersion
    from kinto_orm.kv.twins import AsyncKeyValues
    from kinto_orm.kv.values import KeyValues
    from kinto_orm.models.account import Account
    from kinto_orm.models.deleting import Tombstone
    from kinto_orm.models.history import HistoryEntry, PermissionEntry
    from kinto_orm.models.links import Link
    from kinto_orm.models.permissions import Authenticated, Everyone, Permissions
    from kinto_orm.models.planning import SyncChange
    from kinto_orm.models.putting_back import RestorePlan
    from kinto_orm.models.record import Record
    from kinto_orm.models.rereading import retry_on_conflict
    from kinto_orm.models.restoring import Deletion
    from kinto_orm.models.schema import SchemaChange, SchemaPlan
    from kinto_orm.models.structure import Bucket, Collection, Group
    from kinto_orm.models.syncing import SyncPlan
    from kinto_orm.queries.conditions import Column, Condition, any_of, col, field
    from kinto_orm.queries.marks import Change, Created, Deleted, Updated
    from kinto_orm.queries.pager import Page
    from kinto_orm.queries.query import Query
    from kinto_orm.queries.written import read_condition, read_conditions, read_order
    from kinto_orm.session import Session
    from kinto_orm.templates.template import Template
    from kinto_orm.wire.attempts import Retry
    from kinto_orm.wire.authentication import BearerAuth
    from kinto_orm.wire.messages import Reply
    from kinto_orm.wire.serverinfo import ServerInfo
    from kinto_orm.wire.watching import RequestEvent

__all__ = [
    "Account",
    "AsyncBatch",
    "AsyncKeyValues",
    "AsyncSession",
    "Authenticated",
    "BackoffError",
    "BadReply",
    "Batch",
    "BatchError",
    "BearerAuth",
    "Bucket",
    "Change",
    "Collection",
    "CollectionReset",
    "Column",
    "Condition",
    "ConfigurationError",
    "Conflict",
    "ConnectFailed",
    "Created",
    "Deleted",
    "Deletion",
    "Everyone",
    "Failure",
    "Forbidden",
    "Group",
    "HistoryEntry",
    "Interrupted",
    "InvalidData",
    "KeyNotFound",
    "KeyValues",
    "KeyVersion",
    "KeysAt",
    "KintoError",
    "Link",
    "ModelError",
    "MultipleFound",
    "NotFound",
    "NotLoaded",
    "Outcome",
    "Page",
    "PathError",
    "PermissionEntry",
    "Permissions",
    "Query",
    "Record",
    "RenderBusy",
    "RenderLimit",
    "Reply",
    "RequestEvent",
    "ResponseError",
    "RestorePlan",
    "Retry",
    "SchemaChange",
    "SchemaPlan",
    "ServerError",
    "ServerInfo",
    "Session",
    "SessionMiddleware",
    "Summary",
    "SyncChange",
    "SyncPlan",
    "Template",
    "TemplateError",
    "TemplateSyntaxError",
    "Timeout",
    "Tombstone",
    "TransportError",
    "Unauthorized",
    "UndefinedVariable",
    "Unsupported",
    "Updated",
    "__version__",
    "any_of",
    "col",
    "field",
    "http_status",
    "read_condition",
    "read_conditions",
    "read_order",
    "retry_on_conflict",
]

# Loaded when they are first asked for, so that importing the package stays quick.
_LATER = {
    "Account": "models.account",
    "Batch": "bulk.batch",
    "Outcome": "bulk.jobs",
    "AsyncBatch": "bulk.twins",
    "Failure": "bulk.summary",
    "Interrupted": "bulk.many",
    "Summary": "bulk.summary",
    "Column": "queries.columns",
    "Condition": "queries.conditions",
    "any_of": "queries.conditions",
    "col": "queries.conditions",
    "field": "queries.conditions",
    "BackoffError": "errors",
    "BadReply": "errors",
    "BatchError": "errors",
    "CollectionReset": "errors",
    "ConfigurationError": "errors",
    "Conflict": "errors",
    "ConnectFailed": "errors",
    "Forbidden": "errors",
    "InvalidData": "errors",
    "KeyNotFound": "errors",
    "KintoError": "errors",
    "ModelError": "errors",
    "MultipleFound": "errors",
    "NotFound": "errors",
    "NotLoaded": "errors",
    "PathError": "errors",
    "RenderBusy": "errors",
    "RenderLimit": "errors",
    "ResponseError": "errors",
    "ServerError": "errors",
    "TemplateError": "errors",
    "TemplateSyntaxError": "errors",
    "Timeout": "errors",
    "TransportError": "errors",
    "Unauthorized": "errors",
    "UndefinedVariable": "errors",
    "Unsupported": "errors",
    "http_status": "errors",
    "Change": "queries.marks",
    "Created": "queries.marks",
    "Deleted": "queries.marks",
    "Updated": "queries.marks",
    "Deletion": "models.restoring",
    "RestorePlan": "models.putting_back",
    "HistoryEntry": "models.history",
    "PermissionEntry": "models.history",
    "AsyncKeyValues": "kv.twins",
    "KeyValues": "kv.values",
    "KeyVersion": "kv.history",
    "KeysAt": "kv.history",
    "Bucket": "models.structure",
    "Collection": "models.structure",
    "Group": "models.structure",
    "Authenticated": "models.permissions",
    "Everyone": "models.permissions",
    "Permissions": "models.permissions",
    "Link": "models.links",
    "Page": "queries.pager",
    "Query": "queries.query",
    "read_condition": "queries.written",
    "read_conditions": "queries.written",
    "read_order": "queries.written",
    "Record": "models.record",
    "Tombstone": "models.deleting",
    "retry_on_conflict": "models.rereading",
    "SchemaChange": "models.schema",
    "SchemaPlan": "models.schema",
    "SyncChange": "models.planning",
    "SyncPlan": "models.syncing",
    "ServerInfo": "wire.serverinfo",
    "Reply": "wire.messages",
    "RequestEvent": "wire.watching",
    "AsyncSession": "async_session",
    "Session": "session",
    "SessionMiddleware": "async_session",
    "Template": "templates.template",
    "BearerAuth": "wire.authentication",
    "Retry": "wire.attempts",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'kinto_orm' has no attribute {name!r}")
    return getattr(importlib.import_module(f"kinto_orm.{_LATER[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
