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
    from kinto_orm.account import Account
    from kinto_orm.attempts import Retry
    from kinto_orm.authentication import BearerAuth
    from kinto_orm.batch import Batch, Outcome
    from kinto_orm.bulk import Failure, Interrupted, Summary
    from kinto_orm.conditions import Column, Condition, col, field
    from kinto_orm.connection import ServerInfo
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
    )
    from kinto_orm.following import Change, Created, Deleted, Updated
    from kinto_orm.history import HistoryEntry, PermissionEntry
    from kinto_orm.kv import KeyValues
    from kinto_orm.models import Bucket, Collection, Group
    from kinto_orm.permissions import Authenticated, Everyone, Permissions
    from kinto_orm.query import Page, Query
    from kinto_orm.record import Record
    from kinto_orm.resource import Tombstone
    from kinto_orm.retrying import retry_on_conflict
    from kinto_orm.schema import SchemaChange, SchemaPlan
    from kinto_orm.session import Session
    from kinto_orm.templates import Template

__all__ = [
    "Account",
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
    "Everyone",
    "Failure",
    "Forbidden",
    "Group",
    "HistoryEntry",
    "Interrupted",
    "InvalidData",
    "KeyNotFound",
    "KeyValues",
    "KintoError",
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
    "ResponseError",
    "Retry",
    "SchemaChange",
    "SchemaPlan",
    "ServerError",
    "ServerInfo",
    "Session",
    "Summary",
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
    "col",
    "field",
    "retry_on_conflict",
]

# Loaded when they are first asked for, so that importing the package stays quick.
_LATER = {
    "Account": "account",
    "Batch": "batch",
    "Outcome": "batch",
    "Failure": "bulk",
    "Interrupted": "bulk",
    "Summary": "bulk",
    "Column": "conditions",
    "Condition": "conditions",
    "col": "conditions",
    "field": "conditions",
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
    "Change": "following",
    "Created": "following",
    "Deleted": "following",
    "Updated": "following",
    "HistoryEntry": "history",
    "PermissionEntry": "history",
    "KeyValues": "kv",
    "Bucket": "models",
    "Collection": "models",
    "Group": "models",
    "Authenticated": "permissions",
    "Everyone": "permissions",
    "Permissions": "permissions",
    "Page": "query",
    "Query": "query",
    "Record": "record",
    "Tombstone": "resource",
    "retry_on_conflict": "retrying",
    "SchemaChange": "schema",
    "SchemaPlan": "schema",
    "ServerInfo": "connection",
    "Session": "session",
    "Template": "templates",
    "BearerAuth": "authentication",
    "Retry": "attempts",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'kinto_orm' has no attribute {name!r}")
    return getattr(importlib.import_module(f"kinto_orm.{_LATER[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
