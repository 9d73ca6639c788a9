"""Keys and templates in Kinto, as the kvp.io surface needs them.

Everything goes through Kinto's own API as subrequests with the caller's own credentials, so that
permissions, history and every other plugin apply as they do to any client.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import quote, urlsplit

from kinto.core.utils import build_request
from pydantic import JsonValue
from pyramid.httpexceptions import HTTPException
from pyramid.request import Request
from pyramid.response import Response

from kinto_orm.errors import KeyNotFound, PathError
from kinto_orm.kv import keypath
from kinto_orm.server.kvp_turns import LostRace, in_turn
from kinto_orm.wire.jsonvalues import as_stored

KV: Final = "kv"
TEMPLATES: Final = "templates"

_FIRST_INDEX: Final = 1
"""A list's first item is `1` in a path of kvp.io, and only there."""

_KEPT_HEADERS: Final = frozenset({"Authorization", "Host", "User-Agent", "Content-Length"})
_JSON_PATCH: Final = {"Content-Type": "application/json-patch+json"}
_KEYS_PER_PAGE: Final = 1000
_VALUES_PER_PAGE: Final = 100
_MISSING_PARENT: Final = (403, 404)
_LOST: Final = (409, 412)

Record = dict[str, JsonValue]


class Store:
    """The keys and templates of one bucket, as the caller of one request may see them.

    Args:
        request: The request that is being answered; its credentials are used.
        bucket: The id of the bucket, None for the caller's default bucket.
    """

    def __init__(self, request: Request, bucket: str | None) -> None:
        self._request = request
        self._is_default = bucket is None
        self.bucket: str = bucket or request.default_bucket_id

    def value(self, path: str) -> JsonValue:
        """Read what is at a key path.

        Raises:
            KeyNotFound: Nothing is there.
            PathError: The path is not well formed.
        """
        key, *segments = keypath.parse(path)
        record = self._record(KV, key)
        if record is None or "value" not in record:
            raise KeyNotFound(f"there is no key {key!r}")
        return as_stored(keypath.read(record["value"], segments, key, base=_FIRST_INDEX))

    def set_value(self, path: str, value: JsonValue) -> None:
        """Store a value at a key path; missing parents are made as objects.

        Raises:
            PathError: The path goes through a value that is no container.
        """
        key, *segments = keypath.parse(path)
        if segments:
            self._in_turn(lambda: self._set_nested(key, segments, value))
        else:
            self._in_turn(lambda: self._put(KV, key, {"key": key, "value": value}, {}))

    def delete_value(self, path: str) -> None:
        """Remove what is at a key path, and all below it; nothing there is no error."""
        key, *segments = keypath.parse(path)
        if segments:
            self._in_turn(lambda: self._delete_nested(key, segments))
        else:
            self._in_turn(lambda: self._delete(KV, key))

    def template(self, name: str) -> Record | None:
        """Read a template's record, None when there is none of this name."""
        record = self._record(TEMPLATES, name)
        return record if record and isinstance(record.get("source"), str) else None

    def set_template(self, name: str, source: str) -> None:
        """Store a template's source under a name."""
        body: Record = {"name": name, "source": source}
        self._in_turn(lambda: self._put(TEMPLATES, name, body, {}))

    def delete_template(self, name: str) -> None:
        """Remove a template; none of this name is no error."""
        self._in_turn(lambda: self._delete(TEMPLATES, name))

    def names(self, collection: str) -> list[str]:
        """List the keys or the templates' names, sorted."""
        records = self._records(collection, {"_fields": "id", "_limit": str(_KEYS_PER_PAGE)})
        return sorted(name for name, _ in records)

    def values(self, keys: Sequence[str] | None = None) -> dict[str, JsonValue]:
        """Read the values of several root keys; those that do not exist are left out.

        Args:
            keys: Root keys; None for all that there are.
        """
        if keys is None:
            found = self._records(KV, {"_limit": str(_VALUES_PER_PAGE)})
            return {key: as_stored(record["value"]) for key, record in found if "value" in record}
        ids = ",".join(json.dumps(keypath.record_id(key)) for key in keys)
        found = self._records(KV, {"in_id": ids}) if ids else iter(())
        return {key: as_stored(record["value"]) for key, record in found if "value" in record}

    def size(self) -> int:
        """Count the bytes of all values and template sources, as compact JSON in UTF-8."""
        query = {"_limit": str(_VALUES_PER_PAGE)}
        return sum(
            _json_size(record[field])
            for collection, field in ((KV, "value"), (TEMPLATES, "source"))
            for _, record in self._records(collection, query)
            if field in record
        )

    def _set_nested(self, key: str, segments: Sequence[str], new: JsonValue) -> None:
        record = self._record(KV, key)
        if record is None or "value" not in record:
            body: Record = {"key": key, "value": keypath.nest(segments, new)}
            self._put(KV, key, body, _unchanged(record))
        else:
            value = record["value"]
            self._patch(
                key,
                record,
                keypath.write_operations(value, segments, new, key=key, base=_FIRST_INDEX),
            )

    def _delete_nested(self, key: str, segments: Sequence[str]) -> None:
        record = self._record(KV, key)
        if record is None or "value" not in record:
            return
        value = record["value"]
        try:
            found = keypath.delete_operations(value, segments, key=key, base=_FIRST_INDEX)
        except KeyNotFound:
            return
        self._patch(key, record, found)

    def _record(self, collection: str, name: str) -> Record | None:
        response = self._call("GET", self._path(collection, name))
        if self._is_absent(response):
            return None
        data: Record = _accepted(response).json["data"]
        return data

    def _records(self, collection: str, query: Mapping[str, str]) -> Iterator[tuple[str, Record]]:
        """Give each record with the key that its id stands for, page after page."""
        parameters = "&".join(f"{name}={quote(text)}" for name, text in query.items())
        path: str | None = f"{self._path(collection)}?_sort=id&{parameters}"
        while path:
            response = self._call("GET", path)
            if self._is_absent(response):
                return
            for record in _accepted(response).json["data"]:
                try:
                    yield keypath.key_of(record["id"]), record
                except PathError:
                    continue  # put there by hand, under an id that no key has
            path = _path_and_query(response.headers.get("Next-Page"))

    def _put(self, collection: str, name: str, data: Record, headers: Mapping[str, str]) -> None:
        path = self._path(collection, name)
        response = self._call("PUT", path, {"data": data}, headers)
        if response.status_code in _MISSING_PARENT:
            self._make_collection(collection)
            response = self._call("PUT", path, {"data": data}, headers)
        _accepted(response)

    def _patch(self, key: str, read: Record, operations: list[keypath.JsonPatchOp]) -> None:
        headers = {**_JSON_PATCH, **_unchanged(read)}
        _accepted(self._call("PATCH", self._path(KV, key), operations, headers))

    def _delete(self, collection: str, name: str) -> None:
        response = self._call("DELETE", self._path(collection, name))
        if not self._is_absent(response):
            _accepted(response)

    def _make_collection(self, name: str) -> None:
        """Make the collection, and the bucket before it, unless they are there."""
        absent = {"If-None-Match": "*"}
        if not self._is_default:
            self._call("PUT", f"/buckets/{self.bucket}", {"data": {}}, absent)
        bucket = "default" if self._is_default else self.bucket
        response = self._call("PUT", f"/buckets/{bucket}/collections/{name}", {"data": {}}, absent)
        if response.status_code != 412:
            _accepted(response)

    def _is_absent(self, response: Response) -> bool:
        """Tell whether nothing is there; Kinto says 403 of a bucket that was never made."""
        return response.status_code == 404 or (self._is_default and response.status_code == 403)

    def _path(self, collection: str, name: str | None = None) -> str:
        path = f"/buckets/{self.bucket}/collections/{collection}/records"
        return path if name is None else f"{path}/{keypath.record_id(name)}"

    def _in_turn(self, work: Callable[[], None]) -> None:
        in_turn(self._request, self.bucket, work)

    def _call(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Ask Kinto as the caller; a refusal is returned like any other answer."""
        own = {"Content-Type": "application/json", **(headers or {})}
        content = b"" if body is None else json.dumps(body).encode()
        subrequest = build_request(
            self._request, {"method": method, "path": path, "headers": own, "body": content}
        )
        # The caller's preconditions and the like are about the kvp.io resource, not this one.
        for name in set(self._request.headers) - _KEPT_HEADERS - set(own):
            subrequest.headers.pop(name, None)
        try:
            return self._request.invoke_subrequest(subrequest)
        except HTTPException as refusal:
            return refusal


def _accepted(response: Response) -> Response:
    """Give the answer back, or raise what it says."""
    if response.status_code in _LOST:
        raise LostRace
    if response.status_code >= 300:
        raise response
    return response


def _unchanged(record: Record | None) -> dict[str, str]:
    """Give the precondition that nobody wrote since the record was read."""
    if record is None:
        return {"If-None-Match": "*"}
    return {"If-Match": f'"{record["last_modified"]}"'}


def _path_and_query(url: str | None) -> str | None:
    if url is None:
        return None
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def _json_size(value: JsonValue) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
