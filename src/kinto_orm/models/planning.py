"""What is done to many objects, or would be: written down as it is done.

Of a dry run each flow goes on until it would write.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeGuard

from kinto_orm._shown import Described
from kinto_orm.bulk.summary import Summary
from kinto_orm.models.naming import names_of
from kinto_orm.models.stored import Stored
from kinto_orm.wire.flows import Flow, Step
from kinto_orm.wire.messages import Request

_SHOWN = 100
_NAMED = 10
_SIGNS = {"create": "+", "update": "~", "delete": "-"}

Act = Literal["create", "update", "delete"]
_ACTS: dict[str, Act] = {"PUT": "create", "PATCH": "update", "DELETE": "delete"}


@dataclass(frozen=True, slots=True, repr=False)
class SyncChange(Described):
    """One object that is not as it should be.

    Attributes:
        action: "create", "update" or "delete".
        id: The object's id; of `bucket.restore` its path in the bucket, empty for the bucket.
        fields: Of an update, the fields that differ.
    """

    action: Act
    id: str
    fields: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = f"{_SIGNS[self.action]} {self.id}"
        return f"{said}: {', '.join(self.fields)}" if self.fields else said

    @property
    def row(self) -> tuple[str, str, str]:
        """As a row of a table of what was done."""
        return self.action, self.id, ", ".join(self.fields)


@dataclass(slots=True, repr=False)
class Plan(Summary):
    """What was done to many objects, or would be done.

    Attributes:
        dry_run: Whether nothing was written.
        changes: What was created, updated and deleted, or would be.
        left: What was to be deleted, and is left because somebody wrote it meanwhile: ids, of
            `bucket.restore` paths in the bucket.
    """

    dry_run: bool = False
    changes: list[SyncChange] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [str(each) for each in self.changes[:_SHOWN]]
        left = len(self.changes) - len(lines)
        lines += [f"and {left} more"] if left else []
        return "\n  ".join([self._titled, *lines, *self._reasons, *self.left_alone])

    @property
    def subject(self) -> str:
        """What was to be changed."""
        return ""

    @property
    def _titled(self) -> str:
        said = f"{self.subject}: {self.counted}"
        return f"{said} (a dry run: nothing was written)" if self.dry_run else said

    @property
    def _done(self) -> list[SyncChange]:
        return self.changes


def listed(why: str, names: Sequence[str]) -> list[str]:
    """The line that names what was left alone; none where that is nothing.

    Args:
        why: Why it was.
        names: Its ids or paths.
    """
    if not names:
        return []
    more = len(names) - _NAMED
    return [f"{why}: {', '.join(names[:_NAMED])}" + (f" and {more} more" if more > 0 else "")]


def noting(plan: Plan, id: str, model: type[Stored], flow: Flow[Any]) -> Flow[Any]:
    """Run a flow, and note what it writes; in a dry run it ends before that.

    Args:
        plan: Where that is noted.
        id: What the object is called there.
        model: Its class.
        flow: Writes the object, and says what that was.
    """
    first: Request | None = None
    answer: Any = None
    try:
        step = next(flow)
        while True:
            if first is None and _writes(step):
                first = step
                if plan.dry_run:
                    flow.close()
                    break
            try:
                answer = yield step
            except BaseException as error:  # noqa: BLE001  (the flow knows what it means)
                step = flow.throw(error)
            else:
                step = flow.send(answer)
    except StopIteration as end:
        saved = end.value
    if first is None:
        return saved
    change = _change(first, id, model)
    plan.changes.append(change)
    return f"{change.action}d" if plan.dry_run else saved


def _writes(step: Step) -> TypeGuard[Request]:
    return isinstance(step, Request) and step.method in _ACTS


def _replaces(request: Request) -> bool:
    """Whether this puts an object in the place of one that is there."""
    return request.method == "PUT" and "If-None-Match" not in request.headers


def _change(request: Request, id: str, model: type[Stored]) -> SyncChange:
    """What a request does to an object."""
    action = "update" if _replaces(request) else _ACTS[request.method]
    if action != "update":
        return SyncChange(action, id)
    fields = names_of(model)
    return SyncChange(action, id, tuple(fields.get(name, name) for name in _names_in(request)))


def _names_in(request: Request) -> list[str]:
    """The stored names of what a request changes."""
    body = json.loads(request.body or b"{}")
    if isinstance(body, dict):
        return [*body.get("data", {})]
    pointers = [operation["path"].split("/")[1:3] for operation in body]
    names = (
        name.replace("~1", "/").replace("~0", "~") if place == "data" else place
        for place, name in pointers
    )
    return [*dict.fromkeys(names)]
