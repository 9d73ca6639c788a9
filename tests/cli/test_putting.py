"""`put` and `patch`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinto_orm import Collection, Everyone, Group, Record, Session
from program import Run, as_process, filled, in_process


def data(scope: Session, id: str) -> dict[str, Any]:
    found = scope.get(Record, id).model_dump(mode="json", by_alias=True)
    return {name: value for name, value in found.items() if name not in ("id", "last_modified")}


def test_put_creates_then_replaces(program_session: Session, program: Run) -> None:
    """What the JSON does not have is taken away; nothing is sent where nothing differs."""
    scope = filled(program_session)
    ran = program("put", "todos/a", '{"title": "x", "done": 1}', "--json")
    assert (ran.status, json.loads(ran.out)["title"]) == (0, "x")
    assert "created" in ran.err
    assert "updated" in program("put", "todos/a", '{"done": true}').err
    assert data(scope, "a") == {"done": True}
    assert "unchanged" in program("put", "todos/a", '{"done": true}').err


def test_put_sees_what_python_calls_equal(program_session: Session, program: Run) -> None:
    """`true` and 1 are two values."""
    scope = filled(program_session, {"id": "a", "x": True})
    assert "updated" in program("put", "todos/a", '{"x": 1}').err
    assert data(scope, "a")["x"] is not True


def test_what_get_prints_may_be_put(program_session: Session, program: Run) -> None:
    """Its last_modified is the precondition: somebody else's change is not overwritten."""
    scope = filled(program_session, {"id": "a", "title": "x", "n": 1})
    printed = program("get", "todos/a").out
    assert program("put", "todos/a", "-", input=printed).status == 0
    changed = scope.get(Record, "a")
    changed["title"] = "theirs"
    changed.save()
    mine = json.dumps(json.loads(printed) | {"title": "mine"})
    ran = program("put", "todos/a", "-", input=mine)
    assert (ran.status, ran.out) == (1, "")
    assert "Different there: title" in ran.err
    assert data(scope, "a")["title"] == "theirs"
    assert program("put", "todos/a", "-", "--force", input=mine).status == 0
    assert data(scope, "a") == {"title": "mine", "n": 1}


def test_what_is_gone_is_not_created_by_old_json(program_session: Session, program: Run) -> None:
    scope = filled(program_session, {"id": "a", "title": "x"})
    printed = program("get", "todos/a").out
    scope.get(Record, "a").delete()
    ran = program("put", "todos/a", "-", input=printed)
    assert (ran.status, "is gone" in ran.err) == (1, True)
    assert program("put", "todos/a", "-", "--force", input=printed).status == 0


def test_records_with_a_schema(program_session: Session, program: Run) -> None:
    """The timestamp that the server writes into them is no matter of theirs."""
    scope = filled(program_session)
    schema = '{"schema": {"type": "object", "properties": {"n": {"type": "integer"}}}}'
    assert program("put", "todos", schema).status == 0
    assert program("put", "todos/a", '{"n": 1}').status == 0
    assert program("put", "todos/a", '{"m": 1}').status == 0
    assert data(scope, "a").keys() == {"m", "schema"}
    ran = program("put", "todos/a", '{"n": "x"}')
    assert (ran.status, "is not of type 'integer'" in ran.err) == (1, True)
    assert program("put", "todos", "{}").status == 0
    assert program_session.get(Collection, "todos").json_schema is None


def test_permissions_by_an_option(program_session: Session, program: Run) -> None:
    scope = filled(program_session)
    sets = '{"read": ["system.Everyone"]}'
    assert program("put", "todos/a", "{}", "--permissions", sets).status == 0
    assert scope.get(Record, "a").permissions.read == {Everyone}
    assert program("patch", "todos/a", "{}", "--permissions", '{"read": []}').status == 0
    assert scope.get(Record, "a").permissions.read == set()


def test_a_new_record_gets_an_id(program_session: Session, program: Run) -> None:
    scope = filled(program_session)
    plural = f"/buckets/{program_session.bucket}/collections/todos/records"
    made = json.loads(program("put", plural, '{"x": 1}', "--json").out)
    assert data(scope, made["id"]) == {"x": 1}
    assert program("put", plural, '{"id": "b", "x": 1}').status == 0
    assert data(scope, "b") == {"x": 1}


def test_groups(program_session: Session, program: Run) -> None:
    path = f"/buckets/{program_session.bucket}/groups/g"
    assert program("put", path, '{"members": ["account:ada"]}').status == 0
    assert program_session.get(Group, "g").members == ["account:ada"]
    assert program("put", path, "{}").status == 0
    assert program_session.get(Group, "g").members == []
    ran = program("put", path, '{"members": 1}')
    assert (ran.status, "members" in ran.err) == (1, True)


def test_patch_leaves_the_rest(program_session: Session, program: Run) -> None:
    scope = filled(program_session, {"id": "a", "title": "x", "n": 1, "gone": 1})
    ran = program("patch", "todos/a", '{"n": null}', "--remove", "gone")
    assert (ran.status, data(scope, "a")) == (0, {"title": "x", "n": None})
    assert "unchanged" in program("patch", "todos/a", '{"n": null}').err
    assert program("patch", "todos/a", "{}", "--remove", "nothing").status == 2
    assert program("patch", "todos/b", "{}").status == 1


def test_patch_with_a_timestamp(program_session: Session, program: Run) -> None:
    scope = filled(program_session, {"id": "a", "n": 1})
    old = json.dumps({"last_modified": 5, "n": 2})
    assert program("patch", "todos/a", old).status == 1
    assert data(scope, "a") == {"n": 1}
    assert program("patch", "todos/a", old, "--force").status == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("todos/a", "[1]"), "a JSON object is needed"),
        (("todos/a", "{"), "this is no JSON"),
        (("todos/a", '{"x": NaN}'), "JSON has no NaN"),
        (("todos/a", '{"x": 1, "x": 2}'), "'x' stands in an object twice"),
        (("todos/a", "[" * 5000), "this is no JSON"),
        (("todos/a", '{"id": "b"}'), "give one id"),
        (("todos/a", '{"id": 5}'), "a text"),
        (("todos/a", "{}", "--permissions", '{"read": 1}'), "a list of texts"),
        (("todos/a", "{}", "--permissions", '{"read": [""]}'), "a list of texts"),
        (("todos/a", "{}", "--permissions", '{"reed": []}'), "no permission 'reed'"),
        (("todos/a", '{"last_modified": "x"}'), "milliseconds"),
        (("/buckets", "{}"), "give its id"),
        (("todos/a/b", "{}"), "no target"),
    ],
)
def test_what_cannot_be_meant(arguments: tuple[str, ...], said: str) -> None:
    ran = in_process("--server", "memory://tests", "put", *arguments)
    assert (ran.status, ran.out) == (2, "")
    assert said in ran.err


def test_odd_values(program_session: Session, program: Run) -> None:
    """What no server keeps is refused; what is odd is kept."""
    scope = filled(program_session)
    assert program("put", "todos/a", '{"x": "\\u0000"}').status == 1
    assert program("put", "todos/a", '{"x": "\\ud800"}').status == 1
    assert program("put", "todos/a b", "{}").status == 2
    ran = program("put", "todos/a", '{"a.b c": "\\u009b é", "save": 1, "permissions": 2}')
    assert data(scope, "a") == {"a.b c": "\x9b é", "save": 1, "permissions": 2}
    assert "\x9b" not in ran.out


def test_as_a_process(tmp_path: Any) -> None:
    """A value that begins with a dash stands behind `--`; standard input is read."""
    server = f"sqlite:///{tmp_path}/k.db"
    assert as_process("--server", server, "put", "/buckets/b", "{}").status == 0
    assert as_process("--server", server, "put", "/buckets/b", "--", "-5").status == 2
    ran = as_process("--server", server, "patch", "/buckets/b", "-", "--json", input='{"é": "☃"}')
    assert (ran.status, json.loads(ran.out)["é"]) == (0, "☃")
    assert as_process("--server", server, "put", "/buckets/b", "-", input="").status == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(
        exclude_categories=["Cs"], exclude_characters="\0"), max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
        st.text("ab.é ", min_size=1, max_size=3), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip


@settings(max_examples=15)
@given(before=JSON, after=JSON)
def test_put_makes_it_equal(memory: Session, before: Any, after: Any) -> None:
    """Whatever was there, the object has the JSON then, and nothing else."""
    where = ("--server", "memory://tests", "--bucket", "puts", "--json")
    if in_process(*where, "get", "/buckets/puts").status:
        in_process(*where, "put", "/buckets/puts", "{}")
        in_process(*where, "put", "todos", "{}")
    for value in ({"x": before, "y": 1}, {"x": after}):
        text = json.dumps(value)
        printed = json.loads(in_process(*where, "put", "todos/a", "-", input=text).out)
        read = json.loads(in_process(*where, "get", "todos/a").out)
        assert json.dumps(printed) == json.dumps(read)
        assert {"id": "a", "last_modified": read["last_modified"], **value} == read
