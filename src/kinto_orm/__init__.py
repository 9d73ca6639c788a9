"""Typed Pydantic models for data kept in a Kinto server.

from kinto_orm import Record, Session

class Todo(Record, collection="todos"):
    title: str

with Session("memory://"):
    Todo(title="Write the report").save()
"""

from kinto_orm._version import __version__
from kinto_orm.account import Account
from kinto_orm.batch import Batch, Outcome
from kinto_orm.bulk import Failure, Interrupted, Summary
from kinto_orm.conditions import Column, Condition, col, field
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
from kinto_orm.session import ServerInfo, Session
from kinto_orm.templates import Template
from kinto_orm.transport import BearerAuth, Retry

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
