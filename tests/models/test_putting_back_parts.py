"""Putting back what is at one path of a bucket, and over what is changed meanwhile."""

from __future__ import annotations

import time
from itertools import count
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from both import AnySession, Place, blocking_from_here, do, either
from conftest import Backend
from done import (
    Shown,
    changed,
    everything,
    much_undone,
    step,
    steps,
    steps_like,
    titles,
    write_as_another,
)
from kinto_orm import Bucket, InvalidData, NotFound, Session

# On both sessions.
session = either
__all__ = ["changed", "session"]  # fixtures

ROOTS = ("collections/a", "collections/a/records/x", "groups/g")
_numbers = count(1)


def inside(root: str, shown: Shown) -> Shown:
    """What is at a path, and inside of it."""
    return {uri: each for uri, each in shown.items() if uri == root or uri.startswith(f"{root}/")}


def elsewhere(root: str, shown: Shown) -> Shown:
    """All else."""
    return {uri: each for uri, each in shown.items() if uri not in inside(root, shown)}


async def test_one_collection(changed: tuple[Bucket, int, Shown]) -> None:
    """With all of its records; nothing else is touched, and a dry run says the same."""
    bucket, when, before = changed
    root, there = f"{bucket.uri}/collections/todos", await everything(bucket)
    promised = await do(bucket.restore, when, within="collections/todos", dry_run=True)
    plan = await do(bucket.restore, when, within="collections/todos")
    assert sorted(map(str, promised.changes)) == sorted(map(str, plan.changes))
    assert str(plan).startswith(
        f"{bucket.id}/collections/todos at {when}: 2 created, 2 updated, 1 deleted"
    )
    now = await everything(bucket)
    assert inside(root, now) == inside(root, before)
    assert elsewhere(root, now) == elsewhere(root, there)


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("collections/todos/records/changed", "update"),
        ("collections/todos/records/gone2", "create"),
        ("groups/writers", "create"),
    ],
)
async def test_one_object(changed: tuple[Bucket, int, Shown], path: str, change: str) -> None:
    """With its permissions."""
    bucket, when, before = changed
    uri = f"{bucket.uri}/{path}"
    plan = await do(bucket.restore, when, within=path)
    assert [(each.action, each.id) for each in plan.changes] == [(change, path)]
    assert (await everything(bucket))[uri] == before[uri]
    assert (await do(bucket.restore, when, within=path)).unchanged == 1


async def test_what_was_not_there(changed: tuple[Bucket, int, Shown]) -> None:
    """It is an error, also where nothing ever was; what nobody changed is as it was."""
    bucket, when, _ = changed
    there = await everything(bucket)
    for path in ("collections/todos/records/new", "collections/other", "groups/never"):
        with pytest.raises(NotFound, match=f"{path} was not there at {when}"):
            await do(bucket.restore, when, within=path)
    plan = await do(bucket.restore, when, within="collections/todos/records/same")
    assert plan.total == 0
    for wrong in ("todos", "collections", "collections/a/x/b", "groups/a/records/b", "/"):
        with pytest.raises(InvalidData, match="within="):
            await do(bucket.restore, when, within=wrong)
    with pytest.raises(InvalidData, match="cannot be the id of a collection"):
        await do(bucket.restore, when, within="collections/a b")
    assert await everything(bucket) == there


async def test_over_what_is_changed_meanwhile(session: AnySession, place: Place) -> None:
    """`force` undoes it, too."""
    bucket, when = await much_undone(session)

    def meanwhile(summary: object) -> None:
        write_as_another(place, bucket.id)

    plan = await do(bucket.restore, when, force=True, progress=meanwhile)
    assert not plan.failed
    assert await titles() == dict.fromkeys(("a", "b", "gone", "left"), "1")


async def any_part(url: str, name: str, root: str, before: list[Any], after: list[Any]) -> None:
    with Session(url, bucket=name) as session:
        made = Bucket(id=name).save()
        uri = f"{made.uri}/{root}"
        for number, what in enumerate(before):
            step(session, what, number)
        when, then = made.history().limit(1).all()[0].last_modified, await everything(made)
        time.sleep(0.003)  # what is done in the same millisecond is done at that time
        for number, what in enumerate(after, len(before)):
            step(session, what, number)
        there = await everything(made)
        if uri not in then:
            with pytest.raises(NotFound):
                made.restore(when, within=root)
            assert await everything(made) == there
            return
        plan = made.restore(when, within=root)
        now = await everything(made)
        assert elsewhere(uri, now) == elsewhere(uri, there)
        if "/records/" in root and f"{made.uri}/collections/a" not in there:
            (failure,) = plan.failed
            assert "collection 'a'" in str(failure.error)
            return
        assert (plan.failed, plan.unknown) == ([], [])
        assert inside(uri, now) == inside(uri, then)


@given(
    root=st.sampled_from(ROOTS),
    before=st.lists(steps, max_size=8),
    after=st.lists(steps, max_size=8),
)
@settings(max_examples=15)
async def test_any_part(root: str, before: list[Any], after: list[Any]) -> None:
    """Whatever was done, what is at the path becomes what it was, and nothing else is touched."""
    blocking_from_here()
    await any_part("memory://tests", f"part{next(_numbers)}", root, before, after)


@pytest.mark.parametrize("root", ROOTS)
async def test_on_each_backend(backend: Backend, root: str) -> None:
    """The same, of a long history."""
    random = Random(5)
    chosen = [steps_like(random, number) for number in range(30)]
    blocking_from_here()
    await any_part(backend.url, backend.new_id("p"), root, chosen[:15], chosen[15:])
