"""Accounts: who the user is, and the users that Kinto's accounts plugin keeps."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Self, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, SecretStr

from kinto_orm import kvp
from kinto_orm.changes import Changes
from kinto_orm.connection import root_page
from kinto_orm.errors import BadReply, InvalidData, ResponseError, Unauthorized, Unsupported
from kinto_orm.loading import Source, without
from kinto_orm.permissions import JsonPatch, Permissions
from kinto_orm.protocol import Call, Parents, Reply, Request
from kinto_orm.resource import Resource, Tombstone
from kinto_orm.session import Session
from kinto_orm.state import NOT_DATA, State, put_state

T = TypeVar("T")

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

    # Where it lives

    @classmethod
    def _scope_path(cls, session: Session) -> str:
        return "/accounts"

    @classmethod
    def _home(cls, session: Session) -> tuple[str, Parents | None]:
        session.require("accounts", f"work with {cls.__name__}")
        return super()._home(session)

    def _place(self, given: Session | None) -> tuple[Session, str, Parents | None]:
        session, parent, parents = super()._place(given)
        if ":" in self.id:
            raise Unsupported(
                f"{self.id!r} is no account of Kinto's accounts plugin, but a user whom another "
                "policy of the server knows: it cannot be read or changed here"
            )
        return session, parent, parents

    # What is sent

    @classmethod
    def _check_names(cls, given: Mapping[str, Any]) -> None:
        for name in sorted(_FIGURES & given.keys()):
            raise InvalidData(f"{name} of an account is what the server says; it cannot be set")
        super()._check_names(given)

    def _dump(self) -> dict[str, Any]:
        data: dict[str, Any] = without(super()._dump(), _FIGURES)
        if isinstance(self.password, SecretStr):
            data["password"] = self.password.get_secret_value()
        return data

    def _save_call(
        self, given: Session | None, *, force: bool = False, last_modified: int | None = None
    ) -> tuple[Session, Call[Self]] | None:
        self._check_password(needed=force or self.is_new)
        planned = super()._save_call(given, force=force, last_modified=last_modified)
        return planned and (planned[0], _discreet(planned[1]))

    def _check_password(self, *, needed: bool) -> None:
        if self.password is None:
            if needed:
                raise InvalidData(f"{self._name} needs a password. Nothing was sent.")
            return
        size = len(self._dump()["password"].encode("utf-8", "surrogatepass"))
        if not 0 < size <= MAX_PASSWORD:
            raise InvalidData(
                f"the password of {self._name} has {size} bytes in UTF-8; it needs at least one, "
                f"and {MAX_PASSWORD} is the most. Nothing was sent."
            )

    def _patch_request(self, parent: str, changes: Changes, pending: JsonPatch) -> Request:
        # Kinto hashes the password of a plain PATCH only: a JSON-Patch would store it as it is.
        if "password" in changes.changed and (changes.removed or pending):
            raise InvalidData(
                f"save the permissions of {self._name} by themselves, then the password: the "
                "server does not take both at once. Nothing was sent."
            )
        return super()._patch_request(parent, changes, pending)

    def _delete_call(
        self, given: Session | None, *, missing_ok: bool = False, force: bool = False
    ) -> tuple[Session, Call[Tombstone]]:
        session, call = super()._delete_call(given, missing_ok=missing_ok, force=force)
        return session, _discreet(call)

    def _refresh_call(
        self, given: Session | None, *, keep_changes: bool = False
    ) -> tuple[Session, Call[Self]]:
        session, call = super()._refresh_call(given, keep_changes=keep_changes)
        return session, _discreet(call)

    @classmethod
    def _get_call(cls, session: Session, id: str, parent: str | None = None) -> Call[Self]:
        return _discreet(super()._get_call(session, id, parent))

    # What comes back

    @classmethod
    def _page(
        cls, reply: Reply, session: Session, parent: str, only: frozenset[str] | None
    ) -> list[Self]:
        return super()._page(_cleaned(reply), session, parent, only)

    def _fits(self, raw: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
        # Whether a stored hash is that of a password cannot be told.
        return "password" not in expected and super()._fits(raw, expected)

    def _adopt(self, other: Self, keep: frozenset[str]) -> None:
        super()._adopt(other, keep | _FIGURES)

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        return state | {"__dict__": state["__dict__"] | {"password": None}}


_ANOTHER_USER = (
    "You are logged in as another user: make an account in a session without auth, and change or "
    "delete it in a session of its own user, or of one who may manage accounts."
)


def account_of(session: Session) -> Account:
    """Ask who the user of a session is; see Session.account."""
    if session.dialect == "kvp":
        figures = kvp.account(session)
        raw = {name: figures.get(name) for name in ("email", "reads", "size")}
        return _told(session, str(figures["id"]), raw)
    info = session.run(root_page(session.server_url))
    if info.user is None:
        raise Unauthorized(
            f"{session.server_url} recognises no user: check the session's auth", status=401
        )
    id = str(info.user.get("id") or "").removeprefix("account:")
    figures = {name: info.user.get(name) for name in ("principals", "bucket")}
    return _told(session, id, figures | {"email": id if "@" in id else None})


def _told(session: Session, id: str, figures: dict[str, Any]) -> Account:
    """An account of which only figures are known.

    Raises:
        BadReply: They are none.
    """
    try:
        account = Account._loader().of({"id": id or None} | figures)
    except (InvalidData, BadReply):
        raise BadReply(
            f"cannot read who the user of {session.server_url} is: the answer tells of an account "
            "as neither Kinto nor a kvp.io server does. Does a proxy answer instead?"
        ) from None
    put_state(account, State(session, None, Source(raws={id: {"id": id}}), partial=True))
    return account


def _discreet(call: Call[T]) -> Call[T]:
    """The same call, without the hash in what comes back and the password in its errors."""

    def refused(error: ResponseError, reply: Reply) -> T:
        existing = error.details.get("existing")
        if isinstance(existing, dict):
            existing.pop("password", None)
        error.request = dataclasses.replace(call.request, body=None)
        if isinstance(error, InvalidData) and "data.id" in error.names:
            error.args = (f"{error} {_ANOTHER_USER}",)
        if call.refused is None:
            raise error
        return call.refused(error, reply)

    return Call(
        call.request, lambda reply: call.receive(_cleaned(reply)), call.doing, refused, call.parents
    )


def _cleaned(reply: Reply) -> Reply:
    """The same reply, without the hashes of passwords."""
    if not reply.body:
        return reply
    content = reply.json
    found = content.get("data")
    for each in found if isinstance(found, list) else [found]:
        if isinstance(each, dict):
            each.pop("password", None)
    body = json.dumps(content).encode()
    return Reply(reply.status, reply.headers, body, reply.lost, reply.mask)
