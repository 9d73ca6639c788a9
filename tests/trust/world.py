"""What one operation works in: a bucket and a user of its own, and the session that is tested."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from kinto_orm import Bucket, Collection, Record, Retry, Summary, Tombstone
from kinto_orm.models.resource import Resource
from trust.direct import LISTS, Direct, Stored
from trust.faces import Face

PASSWORD = "p4ssw0rd-that-nobody-may-see"
DEADLINE = 1.5
_numbers = itertools.count(1)


class Todo(Record, collection="todos"):
    """The typed record of the operations."""

    title: str
    done: bool = False
    note: str | None = None
    tags: list[str] = []


class World:
    """One bucket, one user.

    Attributes:
        face: By which verbs it is used.
        direct: The way around it.
        bucket: The real id of its bucket.
        done: Paths whose writing was acknowledged one by one, as in a batch.
        read: What was acknowledged one by one, by name.
    """

    def __init__(
        self, url: str, face: Face, direct: Direct, *, personal: bool, patient: bool
    ) -> None:
        self.face = face
        self.secrets = _secrets(direct.auth)
        self.direct = direct
        self.personal = personal
        self.bucket = direct.user["bucket"] if personal else f"w{next(_numbers)}"
        self._names = {direct.user["id"]: "<me>", self.bucket: "<bucket>"}
        inside = f"/buckets/{'default' if personal else self.bucket}"
        first = ("GET" if personal else "PUT", inside, None)
        self.direct.batch([first, ("PUT", f"{inside}/collections/todos", None)])
        patience: dict[str, Any] = {"timeout": (20.0, 20.0)}
        if not patient:
            patience = {
                "timeout": (0.5, 0.4),
                "retry": Retry(
                    3,
                    deadline=DEADLINE,
                    backoff_factor=0.005,
                    backoff_max=0.02,
                    retry_after_max=0.05,
                ),
            }
        place = "default" if personal else self.bucket
        self._opening = partial(face.open, url, bucket=place, **patience)
        self._sessions = [self._opening(auth=direct.auth)]
        self.done: set[str] = set()
        self.read: dict[str, Any] = {}

    @property
    def session(self) -> Any:
        """What is tested."""
        return self._sessions[0]

    def dry(self) -> Any:
        """A session that runs dry: nothing was pretended in it yet."""
        return self.opened(auth=self.direct.auth, dry_run=True)

    def opened(self, *, auth: tuple[str, str] | None, **options: Any) -> Any:
        """Another session, by the same way; what says who asks in it is a secret, too."""
        self.secrets |= _secrets(auth) if auth else frozenset()
        self._sessions.append(self._opening(auth=auth, **options))
        return self._sessions[-1]

    def close(self) -> None:
        for each in self._sessions:
            self.run(self.do(each).close())
        if self.personal:
            self.direct.close()

    # For operations

    def do(self, subject: Any) -> Any:
        """What has the verbs of a subject: `await world.do(todo).save()`."""
        return self.face.do(subject)

    def run(self, work: Awaitable[Any]) -> Any:
        """Do what an operation says, to its end."""
        return self.face.run(work)

    def name(self, random: str, name: str) -> None:
        """Remember what stands for a random id."""
        self._names[random] = f"<{name}>"

    def put(self, path: str, data: Mapping[str, Any], **permissions: list[str]) -> None:
        """Store an object without kinto-orm."""
        body: dict[str, Any] = {"data": data}
        if permissions:
            body["permissions"] = permissions
        status, answer = self.direct.ask("PUT", f"/buckets/{self.bucket}/{path}", body)
        assert status in (200, 201), answer

    def put_all(self, objects: Mapping[str, Mapping[str, Any]]) -> None:
        """Store several."""
        inside = f"/buckets/{self.bucket}"
        answers = self.direct.batch(
            ("PUT", f"{inside}/{path}", {"data": data}) for path, data in objects.items()
        )
        assert all(each["status"] in (200, 201) for each in answers), answers

    async def todo(self, id: str = "one", **fields: Any) -> Todo:
        """A stored record, loaded by the session that is tested."""
        self.put(f"collections/todos/records/{id}", {"title": id, "tags": ["a"], **fields})
        found: Todo = await self.do(Todo).get(id, session=self.session)
        return found

    def key(self, key: str, value: object) -> None:
        """Store a root key."""
        self.put("collections/kv", {})
        self.put(f"collections/kv/records/{key}", {"key": key, "value": value})

    def template(self, name: str, source: str) -> None:
        """Store a template."""
        self.put("collections/templates", {})
        self.put(f"collections/templates/records/{name}", {"name": name, "source": source})

    def settle(self, outcomes: Iterable[tuple[str, Exception | None]]) -> None:
        """Note what was acknowledged one by one; raise what failed."""
        failed = []
        for path, error in outcomes:
            if error is None:
                self.done.add(path)
            else:
                failed.append(error)
        if failed:
            raise ExceptionGroup("some failed", failed)

    # For the verdict

    async def crosswise(self) -> list[str]:
        """Many who ask at the same time get each its own answer, over whatever connection."""
        do, session = self.do, self.session
        asked = [do(Bucket).get(self.bucket, session=session) for _ in range(4)]
        asked += [do(session).account() for _ in range(4)]
        asked += [do(Collection).get_or_none("none", session=session) for _ in range(4)]
        expected = [self.bucket] * 4 + [self.direct.user["id"]] * 4 + [None] * 4
        found = [each.id if each else None for each in await asyncio.gather(*asked)]
        return [] if found == expected else [f"answers reached others: {found}"]

    def look(self, target: str, lists: Sequence[str] = LISTS) -> Stored:
        """What the server has, with names for random ids."""
        found: Stored = self.named(self.direct.look(self.bucket, self._real(target), lists))
        return found

    def path_of(self, path: str) -> str:
        """A path as it is named."""
        return str(self.named(path))

    def named(self, value: Any) -> Any:
        """The same JSON value with names for random ids, and without timestamps."""
        text = json.dumps(value)
        for random, name in self._names.items():
            text = text.replace(random, name)
        return comparable(json.loads(text))

    def as_sent(self, stored: Any) -> Any:
        """What to send so that the server has it."""
        return json.loads(self._real(json.dumps(stored)))

    def _real(self, target: str) -> str:
        for random, name in self._names.items():
            target = target.replace(name, random)
        return target

    def real(self, target: str) -> str:
        """The server's path of a target."""
        return f"/buckets/{self.bucket}/{self._real(target)}"


def comparable(value: Any) -> Any:
    """The value without any `last_modified`, and with sorted lists of principals."""
    if isinstance(value, dict):
        found = {k: comparable(v) for k, v in value.items() if k != "last_modified"}
        if "permissions" in found and isinstance(found["permissions"], dict):
            found["permissions"] = {k: sorted(v) for k, v in found["permissions"].items()}
        return found
    if isinstance(value, list):
        return [comparable(each) for each in value]
    return value


def seen(value: Any) -> Any:
    """A result as a JSON value."""
    if isinstance(value, Resource):
        return value.model_dump(mode="json", exclude={"last_modified"})
    if isinstance(value, Tombstone):
        return {"deleted": value.id}
    if isinstance(value, Summary):
        return {n: getattr(value, n) for n in ("created", "updated", "unchanged", "deleted")}
    if isinstance(value, Mapping):
        return {str(k): seen(v) for k, v in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(seen(each) for each in value)
    if isinstance(value, list | tuple):
        return [seen(each) for each in value]
    return value


def _secrets(auth: tuple[str, str]) -> frozenset[str]:
    """What no text may hold: the password, and any twelve characters of the credentials."""
    token = base64.b64encode(":".join(auth).encode()).decode()
    return frozenset(token[i : i + 12] for i in range(len(token) - 11)) | {PASSWORD}
