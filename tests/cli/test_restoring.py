"""`history`, `diff` and `restore`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kinto_orm import Bucket, Collection, Everyone, Group, Record, Session
from program import Run, filled


def now(scope: Session) -> str:
    """The time of the last change, as the server has it."""
    found = Bucket(id=scope.bucket).history(session=scope).first()
    assert found is not None
    stamp: Any = found.target["data"]
    return str(stamp["last_modified"])


def records(scope: Session) -> dict[str, Any]:
    return {each.id: each.model_dump(mode="json")["n"] for each in scope.find(Record)}


def change(scope: Session) -> None:
    """Create, update and delete."""
    scope.get(Record, "a").assign(n=2).save()
    scope.get(Record, "b").delete()
    Record(id="c", n=3).save(session=scope)


@pytest.fixture
def scope(program_session: Session) -> Session:
    """Two records."""
    return filled(program_session, {"id": "a", "n": 1}, {"id": "b", "n": 1})


def test_history(scope: Session, program: Run) -> None:
    change(scope)
    lines = [line.split("\t") for line in program("history", "todos/a").out.splitlines()]
    assert [(line[1], line[4]) for line in lines] == [("update", "n"), ("create", "")]
    told = program("history", "todos", "--limit", "2", "--json").out.splitlines()
    actions = [(json.loads(line)["action"], json.loads(line)["uri"][-1]) for line in told]
    assert actions == [("create", "c"), ("delete", "b")]
    assert len(program("history", f"/buckets/{scope.bucket}").out.splitlines()) == 7


def test_names_that_begin_alike(scope: Session, program: Run) -> None:
    filled(scope, {"id": "x", "n": 1}, collection="todos2")
    assert "todos2" not in program("history", "todos").out


def test_diff(scope: Session, program: Run) -> None:
    begin = now(scope)
    change(scope)
    middle = now(scope)
    scope.get(Record, "c").assign(n=4).save()
    told = [json.loads(line) for line in program("diff", "todos", begin, "--json").out.splitlines()]
    found = {each["target"][-1]: (each["action"], each["fields"].get("n")) for each in told}
    assert found == {
        "a": ("update", {"before": 1, "after": 2}),
        "b": ("delete", {"before": 1, "after": None}),
        "c": ("create", {"before": None, "after": 4}),
    }
    assert "n\t3\t->\t4" in program("diff", "todos/c", middle).out
    assert "n\t1\t->\t2" in program("diff", "todos/a", begin, middle).out
    assert program("diff", "todos/a", middle).err == "no difference\n"
    assert program("diff", "todos/nothing", begin).status == 1
    assert program("diff", "todos/a", "soon").status == 2


def test_restoring_a_record(scope: Session, program: Run) -> None:
    begin = now(scope)
    change(scope)
    ran = program("restore", "todos/a", begin, "--dry-run")
    assert ("n\t2\t->\t1" in ran.out, records(scope)["a"]) == (True, 2)
    assert program("restore", "todos/a", begin).status == 0
    assert program("restore", "todos/b", begin).status == 0
    ran = program("restore", "todos/c", begin)
    assert (ran.status, "was not there at" in ran.err) == (1, True)
    assert records(scope) == {"a": 1, "b": 1, "c": 3}


def test_restoring_a_collection(scope: Session, program: Run) -> None:
    begin = now(scope)
    change(scope)
    collection = scope.get(Collection, "todos")
    collection["note"] = "x"
    collection.permissions.grant("read", Everyone)
    collection.save()
    planned = program("restore", "todos", begin, "--dry-run").out
    assert records(scope) == {"a": 2, "c": 3}
    ran = program("restore", "todos", begin)
    assert (ran.status, ran.out) == (0, planned)
    assert records(scope) == {"a": 1, "b": 1}
    collection = scope.get(Collection, "todos")
    assert ("note" in collection, collection.permissions.read) == (False, set())
    assert "restored 0" in program("restore", "todos", begin).err


def test_restoring_a_collection_that_was_deleted(scope: Session, program: Run) -> None:
    """Its records come back, though the history says of none that it was deleted."""
    begin = now(scope)
    change(scope)
    scope.get(Collection, "todos").delete()
    assert program("restore", "todos", begin).status == 0
    assert records(scope) == {"a": 1, "b": 1}


def test_a_collection_that_was_made_anew(scope: Session, program: Run) -> None:
    """The records of the first one are not those of the second."""
    scope.get(Collection, "todos").delete()
    filled(scope, {"id": "z", "n": 9})
    begin = now(scope)
    Record(id="a", n=5).save(session=scope)
    scope.get(Collection, "todos").delete()
    assert program("restore", "todos", begin).status == 0
    assert records(scope) == {"z": 9}


def test_restoring_a_bucket(scope: Session, program: Run) -> None:
    Group(id="g", members=["account:ada"]).save(session=scope)
    begin = now(scope)
    change(scope)
    filled(scope, {"id": "x", "n": 1}, collection="more")
    scope.get(Group, "g").delete()
    ran = program("restore", f"/buckets/{scope.bucket}", begin)
    assert ran.status == 0
    assert records(scope) == {"a": 1, "b": 1}
    assert scope.get(Group, "g").members == ["account:ada"]
    # Somebody might write into it meanwhile, and Kinto has no precondition for that.
    assert not Collection.get("more", session=scope).records.find().exists()
    assert f"left, empty: /buckets/{scope.bucket}/collections/more" in ran.err


def test_restoring_a_group(scope: Session, program: Run) -> None:
    """Alone; with force it is the same where nobody else writes."""
    Group(id="g", members=["account:ada"]).save(session=scope)
    begin = now(scope)
    scope.get(Group, "g").assign(members=[]).save()
    scope.get(Record, "a").assign(n=2).save()
    target = f"/buckets/{scope.bucket}/groups/g"
    ran = program("restore", target, begin, "--force", "--json")
    fields = {"members": {"before": [], "after": ["account:ada"]}}
    assert json.loads(ran.out) == {"action": "update", "target": target, "fields": fields}
    assert (scope.get(Group, "g").members, records(scope)["a"]) == (["account:ada"], 2)
    assert "restored 0" in program("restore", target, begin).err


def test_a_record_without_its_collection(scope: Session, program: Run) -> None:
    """It cannot come back alone, and that is said."""
    begin = now(scope)
    scope.get(Collection, "todos").delete()
    ran = program("restore", "todos/a", begin)
    assert (ran.status, ran.out) == (1, "")
    assert "collection 'todos'" in ran.err
    assert "restored 0" in ran.err


def test_where_the_history_does_not_reach(scope: Session, program: Run) -> None:
    """What was there before the history is not taken for new, and not deleted."""
    history = Bucket(id=scope.bucket).history(session=scope)
    begin = now(scope)
    scope.get(Record, "a").assign(n=2).save()
    assert history.where().delete() > 0
    scope.get(Record, "a").assign(n=3).save()
    collection = scope.get(Collection, "todos")
    collection["note"] = "x"
    collection.save()
    ran = program("diff", f"/buckets/{scope.bucket}", begin)
    assert "does not reach back so far" in ran.err
    for target, status in {"todos/a": 1, "todos": 1, f"/buckets/{scope.bucket}": 0}.items():
        ran = program("restore", target, begin)
        assert (ran.status, "does not reach back so far" in ran.err) == (status, True)
    assert records(scope)["a"] == 3
