"""What Kinto makes of a PATCH: the bodies that it takes, applied to what is stored."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from kinto_orm.wire.messages import JSON_PATCH

MERGE_PATCH = "application/merge-patch+json"

Permissions = dict[str, list[str]]


def patched(
    data: Mapping[str, Any], permissions: Permissions, content_type: str, body: Any
) -> tuple[dict[str, Any], Permissions]:
    """Apply a PATCH; the data after it, and the permissions that it names.

    Args:
        data: What is stored.
        permissions: What is stored.
        content_type: Of the body, in small letters. Kinto takes what it does not know for a plain
            one.
        body: JSON.

    Raises:
        ValueError: It cannot be applied; Kinto answers 400.
    """
    stored = copy.deepcopy(dict(data))
    if content_type == JSON_PATCH:
        return _operated(stored, permissions, body)
    if not isinstance(body, dict) or not body:
        raise ValueError("data in body: Provide at least one of data or permissions")
    changes, named = body.get("data", {}), body.get("permissions", {})
    if content_type == MERGE_PATCH:
        merged = {name: list(who) for name, who in permissions.items()}
        return _merge(stored, changes), _merge(merged, named)
    return stored | changes, {name: who for name, who in named.items() if who is not None}


def _merge(root: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in changes.items():
        if isinstance(value, dict):
            inner = root.setdefault(name, {})
            if not isinstance(inner, dict):
                raise ValueError(f"{name}: an object cannot be merged into something else")
            _merge(inner, value)
        elif value is None:
            root.pop(name, None)
        else:
            root[name] = value
    return root


def _operated(
    data: dict[str, Any], permissions: Permissions, operations: Sequence[Any]
) -> tuple[dict[str, Any], Permissions]:
    """Apply a JSON-Patch (RFC 6902), in which principals are the names of an object."""
    if not isinstance(operations, list):
        raise ValueError("a JSON-Patch is a list of operations")
    lists: Permissions = {"read": [], "write": []} | permissions
    document = {
        "data": data,
        "permissions": {name: dict.fromkeys(who) for name, who in lists.items()},
    }
    for each in operations:
        try:
            _operate(document, each)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise ValueError(f"JSON Patch operation failed: {each!r} ({error})") from error
    if not isinstance(document["data"], dict):
        raise ValueError("the data is an object")
    return document["data"], {name: list(who) for name, who in document["permissions"].items()}


def _operate(document: dict[str, Any], operation: Mapping[str, Any]) -> None:
    act, path = operation["op"], _way(operation["path"])
    if act == "remove":
        _remove(document, path)
    elif act == "test":
        if _read(document, path) != operation["value"]:
            raise KeyError("the test failed")
    elif act in ("move", "copy"):
        source = _way(operation["from"])
        value = copy.deepcopy(_read(document, source))
        if act == "move":
            _remove(document, source)
        _add(document, path, value)
    else:
        if act == "replace":
            _remove(document, path)
        elif act != "add":
            raise KeyError(act)
        # Of a principal Kinto takes the name, whatever the value is.
        _add(document, path, operation.get("value") if _is_grant(path) else operation["value"])


def _is_grant(path: Sequence[str]) -> bool:
    return path[0] == "permissions" and len(path) == 3


def _way(pointer: str) -> list[str]:
    """The names of a pointer; Kinto takes those that begin with these two only."""
    if not pointer.startswith(("/data", "/permissions")):
        raise KeyError(pointer)
    return [each.replace("~1", "/").replace("~0", "~") for each in pointer.split("/")[1:]]


def _read(document: Any, path: Sequence[str]) -> Any:
    for name in path:
        document = document[_index(document, name)]
    return document


def _index(inside: Any, name: str) -> Any:
    if not isinstance(inside, list):
        return name
    if not name.isdecimal():
        raise IndexError(name)
    return int(name)


def _remove(document: Any, path: Sequence[str]) -> None:
    inside = _read(document, path[:-1])
    del inside[_index(inside, path[-1])]


def _add(document: Any, path: Sequence[str], value: Any) -> None:
    inside, name = _read(document, path[:-1]), path[-1]
    if not isinstance(inside, list):
        inside[name] = value
        return
    place = len(inside) if name == "-" else _index(inside, name)
    if place > len(inside):
        raise IndexError(name)
    inside.insert(place, value)
