"""What a dry run has pretended, and what Kinto would answer. Nothing is sent from here."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, unquote

from requests.structures import CaseInsensitiveDict

from kinto_orm.errors import Unsupported
from kinto_orm.wire.forking import renew_in_children
from kinto_orm.wire.messages import Reply, Request, whole_number
from kinto_orm.wire.patches import MERGE_PATCH, Permissions, patched
from kinto_orm.wire.refusals import ERRNO_MISSING, ERRNO_MISSING_PARENT
from kinto_orm.wire.serverinfo import ServerInfo

ERRNO_INVALID = 107
ERRNO_MODIFIED = 114

_KINDS = {
    ("buckets",): "bucket",
    ("buckets", "groups"): "group",
    ("buckets", "collections"): "collection",
    ("buckets", "collections", "records"): "record",
    ("accounts",): "account",
}
# facts: the names of permissions, of which a PUT clears those that it does not give.
_PERMISSIONS = {
    "bucket": ("read", "write", "collection:create", "group:create"),
    "collection": ("read", "write", "record:create"),
}
_ETAG = re.compile(r'"(\d{1,19})"')
_ID = re.compile(r"[a-zA-Z0-9][+.@a-zA-Z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Target:
    """Which object, or list of objects, a path names.

    Attributes:
        kind: "bucket", "group", "collection", "record" or "account".
        plural: The path of the list, unquoted.
        id: The object's; empty for the list.
    """

    kind: str
    plural: str
    id: str

    @property
    def path(self) -> str:
        """Unquoted."""
        return f"{self.plural}/{self.id}"

    @property
    def parent(self) -> Target | None:
        """The object that it is in."""
        return target_of(self.plural.rpartition("/")[0])

    def inside(self, id: str) -> Target:
        """An object of the list."""
        return Target(self.kind, self.plural, id)


def target_of(path: str) -> Target | None:
    """What a path names; None when it is neither an object nor a list of objects of Kinto."""
    parts = unquote(path).split("/")[1:]
    kind = _KINDS.get(tuple(parts[::2]))
    if kind is None or not all(map(_ID.fullmatch, parts[1::2])):
        return None
    of = len(parts) - (len(parts) % 2 == 0)
    return Target(kind, "/" + "/".join(parts[:of]), "".join(parts[of:]))


@dataclass(frozen=True, slots=True)
class Seen:
    """What is at a path.

    Attributes:
        data: None when nothing is there.
        permissions: As far as the server shows them.
        refusal: What the server says to who wants to look or write there.
    """

    data: dict[str, Any] | None = None
    permissions: Permissions = field(default_factory=dict)
    refusal: Reply | None = None


class Pretence:
    """What was pretended over a connection, by path. Threads may share it.

    Attributes:
        info: What the server says of itself; None until it was asked.
        parents: Those that were looked at: they are not looked at for each object in them.
    """

    def __init__(self) -> None:
        self.info: ServerInfo | None = None
        self.parents: dict[str, Seen] = {}
        self._kept: dict[str, dict[str, Seen]] = {}
        self._emptied: set[str] = set()
        self._newest = 0
        self._lock = threading.Lock()
        renew_in_children(self)

    def after_fork(self) -> None:
        """Make the lock anew, in a forked child."""
        self._lock = threading.Lock()

    # What is there

    def find(self, target: Target) -> Seen | None:
        """What was pretended to be at a path; None when only the server knows."""
        kept = self._kept.get(target.plural, {}).get(target.id)
        if kept is not None or not self.is_emptied(target.plural):
            return kept
        parent = target.parent
        there = None if parent is None else self.find(parent)
        if parent is not None and (there is None or there.data is None):
            said = None if there is None else there.refusal
            return Seen(refusal=said or _no_parent(parent))
        return Seen()

    def has(self, target: Target | None) -> bool:
        """Whether an object was pretended to be there."""
        kept = None if target is None else self.find(target)
        return kept is not None and kept.data is not None

    def is_emptied(self, plural: str) -> bool:
        """Whether something above was pretended to be deleted, with all that was in it."""
        return any(plural.startswith(f"{each}/") for each in self._emptied)

    def inside(self, plural: str) -> dict[str, Seen]:
        """What was pretended of the objects of a list, by id."""
        return dict(self._kept.get(plural, {}))

    # What is written

    def write(self, request: Request, target: Target, seen: Seen, stamp: int | None) -> Reply:
        """Do what a request for an object asks, and answer as Kinto does.

        Args:
            request: `PUT`, `PATCH` or `DELETE` of the object, or `POST` to its list.
            target: The object.
            seen: What the server has there.
            stamp: The timestamp of the collection's schema, which Kinto writes into records.
        """
        with self._lock:
            # Somebody in another thread may have pretended something meanwhile.
            there = self._to_write(target) or seen
            refusal = _refusal(request, target, there)
            if refusal is not None:
                return refusal
            try:
                return self._write(request, target, there, stamp)
            except ValueError as error:
                return refused(400, ERRNO_INVALID, str(error))

    def _to_write(self, target: Target) -> Seen | None:
        """The same as `find`; before it forbids, Kinto looks for the collection of a record."""
        found, parent = self.find(target), target.parent
        if target.kind == "record" and parent and found is not None and found.refusal is not None:
            return Seen(refusal=_no_parent(parent))
        return found

    def delete(self, target: Target, data: Mapping[str, Any], at: int = 0) -> dict[str, Any]:
        """Delete an object with all that is in it; its tombstone."""
        newer = at if at > data["last_modified"] else self._next(data)
        # Nobody has permissions on a bucket that is not there, and so it is forbidden.
        self._keep(target, Seen(refusal=_no_parent(target) if target.kind == "bucket" else None))
        if target.kind in ("bucket", "collection"):
            self._emptied.add(target.path)
            for plural in [each for each in self._kept if each.startswith(f"{target.path}/")]:
                del self._kept[plural]
        return {"id": target.id, "last_modified": newer, "deleted": True}

    def delete_each(self, targets: Mapping[Target, Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Delete objects as the server has them, but for those that are gone; the tombstones."""
        with self._lock:
            left = [each for each in targets if (kept := self.find(each)) is None or kept.data]
            return [self.delete(each, targets[each]) for each in left]

    def make(self, target: Target) -> None:
        """Have an empty object there, as the server makes the personal bucket."""
        with self._lock:
            data = {"id": target.id, "last_modified": self._next({})}
            self._keep(target, Seen(data, self._granted(target, {})))

    def _write(self, request: Request, target: Target, there: Seen, stamp: int | None) -> Reply:
        if request.method == "DELETE":
            given = parse_qs(request.query).get("last_modified", [""])[0].strip('"')
            tombstone = self.delete(target, there.data or {}, whole_number(given) or 0)
            return answer(200, {"data": tombstone}, tombstone["last_modified"])
        if request.method == "POST" and there.data is not None:
            return self.read(request, there)
        data, named = _changed(request, target, there)
        if data.setdefault("id", target.id) != target.id:
            raise ValueError("data.id in body: Object id does not match existing object")
        return self._stored(target, there, data, named, stamp)

    def _stored(
        self,
        target: Target,
        there: Seen,
        data: dict[str, Any],
        named: Permissions,
        stamp: int | None,
    ) -> Reply:
        old, given = there.data or {}, data.get("last_modified")
        is_kept = type(given) is int and given > old.get("last_modified", 0)
        data["last_modified"] = given if is_kept else self._next(old)
        if stamp is not None:
            data["schema"] = stamp
        seen = Seen(data, self._granted(target, there.permissions | named))
        self._keep(target, seen)
        content = {"data": data, "permissions": seen.permissions}
        return answer(200 if there.data else 201, content, data["last_modified"])

    def _granted(self, target: Target, permissions: Permissions) -> Permissions:
        """The permissions after a write: whoever writes may write from then on."""
        found = {name: list(dict.fromkeys(who)) for name, who in permissions.items() if who}
        info = self.info or ServerInfo()
        if info.settings.get("explicit_permissions", True):
            anonymous = f"account:{target.id}" if target.kind == "account" else "system.Everyone"
            writer = str((info.user or {}).get("id", anonymous))
            found["write"] = list(dict.fromkeys([*found.get("write", []), writer]))
        return found

    def _keep(self, target: Target, seen: Seen) -> None:
        self._kept.setdefault(target.plural, {})[target.id] = seen

    def _next(self, old: Mapping[str, Any]) -> int:
        """A timestamp that is later than all that are known."""
        now = time.time_ns() // 1_000_000
        self._newest = max(now, self._newest + 1, old.get("last_modified", 0) + 1)
        return self._newest

    # What is read

    def read(self, request: Request, seen: Seen) -> Reply:
        """Answer a `GET` of an object that was pretended, or its `HEAD`."""
        if seen.data is None:
            target = target_of(request.path)
            return seen.refusal or _missing(target)
        modified = seen.data["last_modified"]
        if request.method != "POST" and _etag(request, "If-None-Match") == modified:
            return answer(304, None, modified)
        content = {"data": subset(seen.data, request.query), "permissions": seen.permissions}
        return answer(200, None if request.method == "HEAD" else content, modified)


def subset(data: Mapping[str, Any], query: str) -> dict[str, Any]:
    """The fields of an object that a query string asks for (`_fields=a,b.c`)."""
    asked = parse_qs(query).get("_fields")
    if not asked:
        return dict(data)
    found: dict[str, Any] = {}
    for name in ["id", "last_modified", *asked[-1].split(",")]:
        _take(data, name.split("."), found)
    return found


def _take(data: Mapping[str, Any], path: list[str], found: dict[str, Any]) -> None:
    name, *rest = path
    if name not in data:
        return
    if rest and isinstance(data[name], dict):
        _take(data[name], rest, found.setdefault(name, {}))
    elif not rest:
        found[name] = data[name]


# What Kinto answers


def answer(status: int, content: Any, modified: int | None = None) -> Reply:
    """An answer of any status."""
    headers = CaseInsensitiveDict({"Content-Type": "application/json"})
    if modified is not None:
        headers["ETag"] = f'"{modified}"'
    body = b"" if content is None else json.dumps(content).encode()
    return Reply(status, headers, body)


def refused(status: int, errno: int, message: str, details: Any = None) -> Reply:
    """An answer that refuses, as Kinto writes them.

    See https://docs.kinto-storage.org/en/stable/api/1.x/errors.html.
    """
    problem = {"code": status, "errno": errno, "error": HTTPStatus(status).phrase}
    more = {"details": details} if details else {}
    return answer(status, problem | {"message": message} | more)


def _missing(target: Target | None) -> Reply:
    details = {} if target is None else {"id": target.id, "resource_name": target.kind}
    return refused(
        404, ERRNO_MISSING, "The resource you are looking for could not be found.", details
    )


def _no_parent(parent: Target) -> Reply:
    """What it says to who looks into what is not there."""
    if parent.kind == "bucket":
        return refused(403, 121, "This user cannot access this resource.")
    details = {"id": parent.id, "resource_name": parent.kind}
    said = "The resource you are looking for could not be found."
    return refused(404, ERRNO_MISSING_PARENT, said, details)


def _refusal(request: Request, target: Target, there: Seen) -> Reply | None:
    """Why a write is not done; None when it is."""
    makes = request.method in ("PUT", "POST")
    if there.refusal is not None:
        # A bucket that may be there, but hidden, is taken for one that can be made.
        by_itself = target.parent is None and there.refusal.status in (401, 403, 404)
        may_be_made = by_itself and (target.kind == "account" or there.refusal.status != 401)
        if not (makes and may_be_made):
            return there.refusal
    if there.data is None and not makes:
        return _missing(target)
    return _unmet(request, there)


def _unmet(request: Request, there: Seen) -> Reply | None:
    """The 412 of a precondition that does not hold."""
    data = there.data
    only_new = _etag(request, "If-None-Match") == 0
    match = _etag(request, "If-Match")
    if data is None:
        fails = match is not None
    else:
        fails = only_new or bool(match and match != data["last_modified"])
    if not fails:
        return None
    details = {} if data is None else {"existing": data}
    reply = refused(412, ERRNO_MODIFIED, "Resource was modified meanwhile", details)
    if data is not None:
        reply.headers["ETag"] = f'"{data["last_modified"]}"'  # type: ignore[index]
    return reply


def _etag(request: Request, name: str) -> int | None:
    """The timestamp that a header gives; 0 for `*`, None when it is not there.

    Raises:
        Unsupported: It is none.
    """
    given = CaseInsensitiveDict(request.headers).get(name)
    if given is None:
        return None
    found = _ETAG.fullmatch(given)
    if given != "*" and found is None:
        raise untold(request, f"the header {name}")
    return 0 if found is None else int(found[1])


def untold(request: Request, what: str = "this request") -> Unsupported:
    """The error that says that a dry run cannot tell what the server would do."""
    doing = request.doing or f"send {request!r}"
    return Unsupported(
        f"cannot {doing}: this session is a dry run, which cannot tell what the server would "
        f"answer to {what} ({request!r}). It knows writes of buckets, groups, collections, "
        "records and accounts, and batches of them. Nothing was sent."
    )


def _changed(request: Request, target: Target, there: Seen) -> tuple[dict[str, Any], Permissions]:
    """The data that a write makes, and the permissions that it gives."""
    old = there.data or {}
    body = json.loads(request.body) if request.body else {}
    kind = str(CaseInsensitiveDict(request.headers).get("Content-Type", "")).lower()
    if request.method == "PATCH":
        data, named = patched(old, there.permissions, kind, body)
    elif _is_body(body):
        data = dict(body.get("data") or old)
        given = body.get("permissions") or {}
        named = {name: who for name, who in given.items() if who is not None}
        if target.kind == "group" and "data" in body:
            data.setdefault("members", [])
    else:
        raise ValueError("body: data and permissions are objects")
    if named and (request.method == "PUT" or kind == MERGE_PATCH):
        names = _PERMISSIONS.get(target.kind, ("read", "write"))
        named = {name: [] for name in names} | named
    if target.kind == "account":
        # The server keeps its hash.
        data.pop("password", None)
    return data, named


def _is_body(body: object) -> bool:
    return isinstance(body, dict) and all(
        isinstance(body.get(name) or {}, dict) for name in ("data", "permissions")
    )


def chosen_ids(query: str) -> Iterator[str]:
    """The ids that a query string names, when it has no other condition; else none."""
    asked = parse_qs(query)
    conditions = [name for name in asked if name == "_token" or not name.startswith("_")]
    if conditions == ["in_id"]:
        yield from map(str, json.loads(f"[{asked['in_id'][-1]}]"))
    elif conditions == ["eq_id"]:
        yield str(json.loads(asked["eq_id"][-1]))
