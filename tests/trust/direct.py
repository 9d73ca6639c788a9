"""The real server without kinto-orm: for preparing, for the other writer, for looking after."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

Stored = dict[str, dict[str, Any]]
"""What the server has: `{"data": ..., "permissions": ...}` by path below the bucket."""

LISTS = (
    "collections",
    "groups",
    "collections/todos/records",
    "collections/kv/records",
    "collections/templates/records",
    "collections/copies/records",
)


class Direct:
    """Raw requests of one user, over a connection of its own. Threads may share it.

    Attributes:
        auth: The user's name and password.
        user: What the server says of the user: `id`, `bucket`.
    """

    def __init__(self, url: str, auth: tuple[str, str]) -> None:
        self._connection = HTTPConnection(urlsplit(url).netloc, timeout=60)
        self.auth = auth
        token = base64.b64encode(":".join(auth).encode()).decode()
        self._headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
        self._lock = threading.Lock()
        self.user: dict[str, Any] = self.ask("GET", "/")[1]["user"]

    def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """Send one request; the status and the JSON that came."""
        content = None if body is None else json.dumps(body)
        with self._lock:
            self._connection.request(
                method, f"/v1{path}", content, {**self._headers, **(headers or {})}
            )
            response = self._connection.getresponse()
            text = response.read()
        return response.status, json.loads(text) if text else None

    def batch(self, requests: Iterable[tuple[str, str, Any]]) -> list[dict[str, Any]]:
        """Send several as one; their answers."""
        items: list[dict[str, Any]] = []
        for method, path, body in requests:
            item = {"method": method, "path": f"/v1{path}"}
            items.append(item if body is None else {**item, "body": body})
        status, answer = self.ask("POST", "/batch", {"requests": items})
        assert status == 200, answer
        return list(answer["responses"])

    def close(self) -> None:
        self._connection.close()

    # Looking

    def look(self, bucket: str, target: str, lists: Sequence[str] = LISTS) -> Stored:
        """All that a bucket holds, or some of its lists; of the target the permissions, too."""
        inside = f"/buckets/{bucket}"
        asked = [("GET", f"{inside}/{each}", None) for each in lists]
        if target:
            asked.append(("GET", f"{inside}/{target}", None))
        answers = self.batch(asked)
        found: Stored = {}
        for place, answer in zip(lists, answers, strict=False):
            if answer["status"] == 200:
                for each in answer["body"]["data"]:
                    found[f"{place}/{each['id']}"] = {"data": each}
        if target and answers[-1]["status"] == 200:
            found[target] = answers[-1]["body"]
        return found

    def read(self, bucket: str, path: str) -> Any:
        """One object with its permissions; None when there is none."""
        status, answer = self.ask("GET", f"/buckets/{bucket}/{path}")
        return answer if status == 200 else None
