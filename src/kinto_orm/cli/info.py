"""`info` and `account`: which server, and who one is there."""

from __future__ import annotations

import os

from pydantic import JsonValue
from typer import Context

from kinto_orm import Session
from kinto_orm.cli.failing import WHOSE
from kinto_orm.cli.printing import tell
from kinto_orm.cli.settings import settings_of


def info(ctx: Context) -> None:
    """Say which server it is, its version, who you are there, and what it can do.

    Examples:
        kinto-orm info --server https://kinto.example/v1
        kinto-orm info --json | jq .capabilities
    """
    settings = settings_of(ctx)
    with settings.session(reads=True) as session:
        told = _of_kvp(session) if session.dialect == "kvp" else _of_kinto(session)
        settings.output.facts({"server": session.server_url, **told})
    known = settings.found()
    has_auth = settings.auth is not None or (known is not None and known.auth is not None)
    if not has_auth and os.environ.get("KINTO_ORM_AUTH"):
        tell(WHOSE)


def account(ctx: Context) -> None:
    """Say who you are: your principals and bucket, and on a kvp.io server your reads and size.

    Examples:
        kinto-orm account
        kinto-orm account --server kvp+https://api.kvp.io --json | jq .reads
    """
    settings = settings_of(ctx)
    with settings.session(reads=True) as session:
        settings.output.facts(who(session))


def who(session: Session) -> dict[str, JsonValue]:
    """What the server says of the user.

    Raises:
        Unauthorized: It recognises nobody.
    """
    found = session.account()
    names = ("id", "principals", "bucket", "email", "reads", "size")
    told = {name: getattr(found, name) for name in names}
    return told | {"principals": _sorted(found.principals)}


def _sorted(names: JsonValue | list[str]) -> JsonValue:
    """Names in one order: a server that is started anew has another one."""
    return [*sorted(map(str, names))] if isinstance(names, list) else None


def _of_kinto(session: Session) -> dict[str, JsonValue]:
    found = session.server_info()
    user = found.user or {}
    return {
        "version": found.version or None,
        "user": user.get("id"),
        "principals": _sorted(user.get("principals")),
        "bucket": user.get("bucket"),
        "settings": dict(sorted(found.settings.items())),
        "capabilities": list[JsonValue](sorted(found.capabilities)),
    }


def _of_kvp(session: Session) -> dict[str, JsonValue]:
    return {"speaks": "the protocol of kvp.io", "user": session.account().id}
