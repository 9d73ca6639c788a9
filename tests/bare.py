"""A Kinto without history, permissions endpoint and schema validation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kinto_orm import Session
from kinto_orm.server import EmbeddedServer, serve
from kinto_orm.server.embedded import own_user
from kinto_orm.server.quiet import extra, hushed

_SECRET = "not a secret"


@contextmanager
def bare_session(bucket: str = "b") -> Iterator[Session]:
    """A session on a new server that has no plugins."""
    with extra():
        from kinto_orm.server.application import MEMORY, Application
    user = own_user(_SECRET)
    settings = {**MEMORY, "userid_hmac_secret": _SECRET, "multiauth.policies": "basicauth"}
    with hushed():
        application = Application(settings, ":".join(user))
    with (
        EmbeddedServer(application, user) as embedded,
        serve(embedded) as http,
        Session(http.url, auth=user, bucket=bucket) as session,
    ):
        yield session
