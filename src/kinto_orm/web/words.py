"""Principals, permissions and values in words."""

from __future__ import annotations

from typing import Final

from kinto_orm.models.permissions import BY_KIND, Authenticated, Everyone

_SYSTEM: Final = {
    Everyone: "everyone, also without logging in",
    Authenticated: "everyone who is logged in",
}
_LONG_ID = 24
# What each permission lets somebody do; the order is that in which they are offered.
MAY: Final = {
    "bucket": {
        "read": "read everything in this bucket",
        "write": "read and change everything in this bucket, and share it",
        "collection:create": "make collections in it",
        "group:create": "make groups in it",
    },
    "collection": {
        "read": "read the records of this collection",
        "write": "read and change this collection and its records, and share it",
        "record:create": "add records to it",
    },
    "group": {
        "read": "see who is in this group",
        "write": "change who is in this group, and share it",
    },
    "record": {
        "read": "read this record",
        "write": "read and change this record, and share it",
    },
}
assert all(BY_KIND[kind] == words.keys() for kind, words in MAY.items())  # noqa: S101


def who(principal: str, me: str | None = None, name: str | None = None) -> str:
    """Who a principal is.

    Args:
        principal: As the server has it.
        me: The principal of whoever looks.
        name: How that one logged in.
    """
    if principal in _SYSTEM:
        return _SYSTEM[principal]
    if principal == me:
        return "you" if name in (None, me) else f"you ({name})"
    group = principal.split("/")
    if principal.startswith("/buckets/") and len(group) == 5 and group[3] == "groups":
        return f"the group {group[4]} of the bucket {group[2]}"
    return _person(principal)


def _person(principal: str) -> str:
    policy, _, id = principal.partition(":")
    if policy == "account" and id:
        return id
    if id and len(id) > _LONG_ID:
        return f"{policy} {id[:8]}…{id[-4:]}"
    return principal


def may(permission: str, kind: str) -> str:
    """What somebody with a permission may do."""
    return MAY[kind].get(permission, permission)


def kind_of(value: object) -> str:
    """What kind of JSON a value is, in one word."""
    names = {bool: "yesno", int: "number", float: "number", str: "text", list: "list", dict: "map"}
    return names.get(type(value), "null")
