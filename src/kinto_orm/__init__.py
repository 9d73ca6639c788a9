"""Typed Pydantic models for data kept in a Kinto server.

from kinto_orm import Record, Session

class Todo(Record, collection="todos"):
    title: str

with Session("memory://"):
    Todo(title="Write the report").save()
"""

from kinto_orm._version import __version__
from kinto_orm.conditions import Column, Condition, col, field
from kinto_orm.errors import (
    BackoffError,
    BadReply,
    BatchError,
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
from kinto_orm.models import Bucket, Collection, Group
from kinto_orm.permissions import Authenticated, Everyone, Permissions
from kinto_orm.query import Page, Query
from kinto_orm.record import Record
from kinto_orm.resource import Tombstone
from kinto_orm.retrying import retry_on_conflict
from kinto_orm.session import ServerInfo, Session
from kinto_orm.transport import BearerAuth, Retry
