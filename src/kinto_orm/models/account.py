"""Accounts: who the user is, and the users that Kinto's accounts plugin keeps."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, ConfigDict, Field, SecretStr

from kinto_orm.errors import BadReply, InvalidData, ResponseError, Unauthorized, Unsupported
from kinto_orm.models.contents import dump_of, name_of
from kinto_orm.models.loading import Source, loader_of
from kinto_orm.models.naming import refuse_undeclared
from kinto_orm.models.permissions import Permissions
from kinto_orm.models.resource import Resource
from kinto_orm.models.state import State, is_new, put_state
from kinto_orm.models.stored import NOT_DATA
from kinto_orm.wire import kvp
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.messages import Reply, Request
from kinto_orm.wire.places import fetch_info
from kinto_orm.wire.scope import Scope

MAX_PASSWORD: Final = 72
"""The longest password, in bytes of UTF-8: bcrypt takes no more, and Kinto fails on it."""

_PASSWORD: Final = frozenset({"password"})
_FIGURES: Final = frozenset({"principals", "bucket", "email", "reads", "size"})


def _secret(value: SecretStr | str | None) -> SecretStr | None:
    return SecretStr(value) if isinstance(value, str) else value


class Account(Resource):
    """A user of the server: `session.account()`, or one that Kinto's accounts plugin keeps.

    `Account(id="alice", password="...").save()` creates one; anybody may create their own, if the
    server allows it. Then `Session(url, auth=("alice", "..."))` logs in. To change the password,
    assign another one and save. No password can be read again: it is None once it is saved, and
    what the server keeps of it is dropped from its answers.

    Attributes:
        id: The name to log in with: letters and digits, then also `-`, `_`, `+`, `.` and `@`. Of
            a user whom another policy of the server knows, the principal, with a colon in it.
        password: What is to be saved, 1 to 72 bytes of UTF-8.
        principals: Whom permissions may be granted to so that this user has them. Only
            `session.account()` knows it, like the following.
        bucket: The id of the user's personal bucket.
        email: The e-mail address: on Kinto the id, where it is one.
        reads: How many reads a kvp.io server has counted; None on Kinto.
        size: How many bytes a kvp.io server keeps for the user; None on Kinto.
    """

    # No message shows what was given: it may be a password.
    model_config = ConfigDict(hide_input_in_errors=True)

    __kinto_kind__: ClassVar[str] = "account"
    __kinto_open__: ClassVar[bool] = False
    __kinto_server_made__: ClassVar[frozenset[str]] = NOT_DATA | _PASSWORD
    __kinto_secrets__: ClassVar[frozenset[str]] = _PASSWORD
    __kinto_figures__: ClassVar[frozenset[str]] = _FIGURES
    __kinto_capability__: ClassVar[str | None] = "accounts"

    password: Annotated[SecretStr | str | None, AfterValidator(_secret)] = Field(
        default=None, exclude=True, repr=False
    )
    principals: list[str] | None = Field(default=None, frozen=True)
    bucket: str | None = Field(default=None, frozen=True)
    email: str | None = Field(default=None, frozen=True)
    reads: int | None = Field(default=None, frozen=True)
    size: int | None = Field(default=None, frozen=True)

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            id: str,
            password: SecretStr | str | None = None,
            permissions: Permissions | Mapping[str, Iterable[str]] = ...,
        ) -> None: ...

    @property
    def principal(self) -> str:
        """Whom to grant a permission to so that this user has it, such as "account:alice"."""
        return self.id if ":" in self.id else f"account:{self.id}"

    # What it says to the acts

    @classmethod
    def __kinto_path__(cls, scope: Scope) -> str:
        return "/accounts"

    def __kinto_check_place__(self) -> None:
        if ":" in self.id:
            raise Unsupported(
                f"{self.id!r} is no account of Kinto's accounts plugin, but a user whom another "
                "policy of the server knows: it cannot be read or changed here"
            )

    @classmethod
    def __kinto_check_names__(cls, given: Mapping[str, Any]) -> None:
        for name in sorted(_FIGURES & given.keys()):
            raise InvalidData(f"{name} of an account is what the server says; it cannot be set")
        refuse_undeclared(cls, given)

    def __kinto_check_save__(self, *, force: bool) -> None:
        if self.password is None:
            if force or is_new(self):
                raise InvalidData(f"{name_of(self)} needs a password. Nothing was sent.")
            return
        password = str(dump_of(self)["password"])
        size = len(password.encode("utf-8", "surrogatepass"))
        if not 0 < size <= MAX_PASSWORD:
            raise InvalidData(
                f"the password of {name_of(self)} has {size} bytes in UTF-8; it needs at least "
                f"one, and {MAX_PASSWORD} is the most. Nothing was sent."
            )

    @classmethod
    def __kinto_read__(cls, reply: Reply) -> Reply:
        """The same answer, without the hashes of passwords."""
        if not reply.body:
            return reply
        content = reply.json
        found = content.get("data")
        for each in found if isinstance(found, list) else [found]:
            if isinstance(each, dict):
                each.pop("password", None)
        body = json.dumps(content).encode()
        cleaned = Reply(reply.status, reply.headers, body, reply.lost, reply.mask)
        cleaned.doing = reply.doing
        return cleaned

    @classmethod
    def __kinto_refused__(cls, error: ResponseError) -> None:
        existing = error.details.get("existing")
        if isinstance(existing, dict):
            existing.pop("password", None)
        if isinstance(error.request, Request):
            error.request = dataclasses.replace(error.request, body=None)
        if isinstance(error, InvalidData) and "data.id" in error.names:
            error.args = (f"{error} {_ANOTHER_USER}",)


_ANOTHER_USER = (
    "You are logged in as another user: make an account in a session without auth, and change or "
    "delete it in a session of its own user, or of one who may manage accounts."
)


def fetching_account(scope: Scope) -> Flow[Account]:
    """Ask who the user of a session is; see Session.account."""
    if scope.dialect == "kvp":
        figures = yield from kvp.account(scope)
        raw = {name: figures.get(name) for name in ("email", "reads", "size")}
        return _told(scope, str(figures["id"]), raw)
    info = yield from fetch_info(scope)
    if info.user is None:
        raise Unauthorized(
            f"{scope.server_url} recognises no user: check the session's auth", status=401
        )
    id = str(info.user.get("id") or "").removeprefix("account:")
    figures = {name: info.user.get(name) for name in ("principals", "bucket")}
    return _told(scope, id, figures | {"email": id if "@" in id else None})


def _told(scope: Scope, id: str, figures: dict[str, Any]) -> Account:
    """An account of which only figures are known.

    Raises:
        BadReply: They are none.
    """
    try:
        account = loader_of(Account).of({"id": id or None} | figures)
    except (InvalidData, BadReply):
        raise BadReply(
            f"cannot read who the user of {scope.server_url} is: the answer tells of an account "
            "as neither Kinto nor a kvp.io server does. Does a proxy answer instead?"
        ) from None
    put_state(account, State(scope, None, Source(raws={id: {"id": id}}), partial=True))
    return account
