"""`perms`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kinto_orm import Authenticated, Collection, Everyone, Group, Session
from program import Run, filled


def test_granting_and_revoking(program_session: Session, program: Run) -> None:
    filled(program_session)
    who = "everyone,authenticated,me,group:writers,account:ada"
    ran = program("perms", "todos", "--grant", f"read={who}", "--grant", "record:create=bob")
    me = program_session.account().id
    there = program_session.get(Collection, "todos").permissions
    if ran.status == 2:  # no accounts on this server: a name alone is nobody
        assert "no accounts" in ran.err
        assert program("perms", "todos", "--grant", f"read={who}").status == 0
        there = program_session.get(Collection, "todos").permissions
    else:
        assert there.record_create == {"account:bob"}
    group = f"/buckets/{program_session.bucket}/groups/writers"
    assert there.read == {Everyone, Authenticated, me, group, "account:ada"}
    assert program("perms", "todos", "--revoke", "read=everyone,me").status == 0
    told = json.loads(program("perms", "todos", "--json").out)
    assert set(told["read"]) == {Authenticated, group, "account:ada"}
    assert "unchanged" in program("perms", "todos", "--revoke", "read=everyone").err


def test_in_words(program_session: Session, program: Run) -> None:
    filled(program_session)
    out = program("perms", "todos", "--grant", "read=everyone,group:g").out
    bucket = program_session.bucket
    assert f"read\teveryone, the members of /buckets/{bucket}/groups/g\n" in out or (
        f"read\tthe members of /buckets/{bucket}/groups/g, everyone\n" in out
    )
    assert "write\tyou (" in out
    assert "record:create\tnobody else\n" in out


@pytest.mark.parametrize("bad", ["read", "=ada", "reed=everyone", "read=", "read=,"])
def test_what_is_no_permission(program_session: Session, program: Run, bad: str) -> None:
    filled(program_session)
    assert program("perms", "todos", "--grant", bad).status == 2


def test_who_may_not_write_is_shown_none(
    backend: Any, program_session: Session, program: Run
) -> None:
    filled(program_session)
    program("perms", "todos", "--grant", "read=everyone")
    ran = program("perms", "todos", "--auth", "eve:x")
    assert (ran.status, "those only who may write it" in ran.err) == (1, True)


@pytest.mark.parametrize(
    ("who", "hint"),
    [
        ("/buckets/b", "write group:NAME"),
        ("/buckets/b/collections/c", "write group:NAME"),
        ("/buckets/b/groups", "write group:NAME"),
        ("/buckets/b/groups/a b", "cannot be the id of a group"),
        ("/groups/g", "is no path"),
        ("group:", "write group:NAME"),
        ("group:a b", "cannot be the id of a group"),
        ("system.Everybody", "write everyone or authenticated"),
        ("https://kinto.example/v1/buckets/b/groups/g", "leave the server out"),
        ("account:", "a name is missing"),
    ],
)
def test_who_can_be_nobody(program_session: Session, program: Run, who: str, hint: str) -> None:
    """A principal that was written by hand is checked; what stands there may be taken away."""
    collection = Collection(id="todos").save(session=program_session)
    collection.permissions.grant("read", who).save()
    ran = program("perms", "todos", "--grant", f"read={who}")
    assert (ran.status, hint in ran.err) == (2, True), ran.err
    if who not in ("group:", "group:a b"):
        assert program("perms", "todos", "--revoke", f"read={who}").status == 0
        assert program_session.get(Collection, "todos").permissions.read == set()


def test_a_group_that_is_not_there_yet(program_session: Session, program: Run) -> None:
    """It is said, and done: a group may be made afterwards."""
    filled(program_session)
    assert "no group" in program("perms", "todos", "--grant", "read=group:g").err
    Group(id="g", members=[]).save(session=program_session)
    assert "no group" not in program("perms", "todos", "--grant", "write=group:g").err


def test_a_group_of_the_personal_bucket(program_session: Session, program: Run) -> None:
    """It has the real id of that: the server knows no group of "default"."""
    filled(program_session)
    program("perms", "todos", "--grant", "read=/buckets/default/groups/g")
    (who,) = program_session.get(Collection, "todos").permissions.read
    assert who == f"/buckets/{program_session.resolve_bucket('default')}/groups/g"
