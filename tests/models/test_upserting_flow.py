"""Saving over what is there, answered by hand: what is looked at, and what is sent of it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import Field

from feeding import (
    NOW,
    after_loss,
    asked,
    body,
    busy,
    fails,
    feed,
    forbids,
    is_missing,
    is_there,
    no_answer,
    nowhere,
    object_of,
    refuses,
    requests_of,
    root,
    says,
    shows,
)
from kinto_orm import (
    BadReply,
    Conflict,
    Everyone,
    Forbidden,
    InvalidData,
    Record,
    ServerError,
    Timeout,
)
from kinto_orm.bulk.jobs import Existing
from kinto_orm.bulk.summary import Bulk, saving_jobs
from kinto_orm.models.getting import getting_or_creating
from kinto_orm.models.patching import modifying
from kinto_orm.models.upserting import looking_for, upserting

SCOPE = nowhere()
TODOS = "/buckets/b/collections/todos/records"
LATER = NOW + 1000


class Todo(Record, collection="todos"):
    title: str
    n: int = 0
    note: str | None = Field(default=None, alias="Note")


def new(**fields: Any) -> Todo:
    return Todo(**{"id": "a", "title": "x", **fields})


def raw(last_modified: int = NOW, /, **fields: Any) -> dict[str, Any]:
    return object_of("a", last_modified, **{"title": "x", "n": 0, "Note": None, **fields})


def upsert(todo: Todo, existing: Existing = "update", **options: Any) -> Any:
    return upserting(todo, SCOPE, existing, **options)


# Updating


def test_what_differs_is_sent_with_a_precondition() -> None:
    """Only that; and what others added is the object's from then on."""
    todo = new(n=5)
    result, steps = feed(upsert(todo), shows(raw(seen=True)), shows(raw(LATER, n=5, seen=True)))
    assert result == "updated"
    assert asked(steps) == [f"GET {TODOS}/a", f"PATCH {TODOS}/a"]
    assert steps[1].headers == {"If-Match": f'"{NOW}"'}
    assert body(steps[1]) == {"data": {"n": 5}}
    assert (todo["seen"], todo.last_modified, todo.diff()) == (True, LATER, {})


def test_nothing_differs() -> None:
    """Then nothing is sent, and the object is as if it had been loaded."""
    todo = new()
    assert feed(upsert(todo), shows(raw()))[0] == "unchanged"
    assert (todo.is_new, todo.last_modified, todo.diff()) == (False, NOW, {})
    assert feed(upsert(todo)) == ("unchanged", [])


def test_nothing_is_there() -> None:
    """It is created, if it is still so."""
    todo = new()
    result, steps = feed(upsert(todo), is_missing(), shows(raw(), status=201))
    assert result == "created"
    assert steps[1].headers == {"If-None-Match": "*"}


@pytest.mark.parametrize("existing", ["update", "replace", "skip"])
def test_an_id_of_its_own_is_not_looked_for(existing: Existing) -> None:
    """Nobody else can have it."""
    todo = Todo(title="x")
    answer = shows({**raw(), "id": todo.id}, status=201)
    assert asked(feed(upsert(todo, existing), answer)[1]) == [f"PUT {TODOS}/{todo.id}"]


def test_somebody_was_faster() -> None:
    """Between the look and the write: a conflict, with both sides."""
    todo = new(n=5)
    error, _ = fails(upsert(todo), Conflict, shows(raw()), is_there(raw(LATER, n=7)))
    assert error.remote.n == 7  # type: ignore[union-attr]
    error, _ = fails(upsert(new()), Conflict, is_missing(), is_there(raw(n=7)))
    assert not error.unconfirmed
    merged = error.merge(prefer="local")
    assert merged.n == 0


def test_a_lost_answer_is_remembered() -> None:
    """The next save takes what is there for what it may be: its own."""
    todo = new(n=5)
    fails(upsert(todo), Timeout, shows(raw()), no_answer())
    error, _ = fails(upsert(todo), Conflict, is_there(raw(LATER, n=5)))
    assert error.unconfirmed


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(forbids(), Forbidden), (busy(), ServerError), (no_answer(), Timeout)],
)
def test_what_is_there_cannot_be_read(answer: Any, expected: type[Exception]) -> None:
    """Nothing is written, and the object is as it was."""
    for existing in ("update", "replace", "skip"):
        todo = new(n=5)
        fails(upsert(todo, existing), expected, answer)  # type: ignore[arg-type,type-var]
        assert (todo.is_new, todo.n) == (True, 5)


def test_another_object_is_not_believed() -> None:
    """A proxy mixed answers up."""
    fails(upsert(new()), BadReply, shows({**raw(), "id": "z"}))


def test_what_is_there_does_not_fit() -> None:
    """The object is as it was, and the way out is named."""
    todo = new()
    error, _ = fails(upsert(todo), InvalidData, shows(raw(n="many")))
    assert "cannot update Todo 'a'" in str(error)
    assert "existing='replace'" in str(error)
    assert todo.is_new
    result, steps = feed(upsert(todo, "replace"), shows(raw(n="many")), shows(raw(LATER)))
    assert result == "updated"
    assert (steps[1].method, steps[1].headers) == ("PUT", {"If-Match": f'"{NOW}"'})


def test_permissions_go_along() -> None:
    """What is asked for in addition to what is there; what is there is looked at."""
    there, after = {"write": ["me"]}, {"write": ["me"], "read": [Everyone]}
    todo = new(permissions={"read": [Everyone]})
    result, steps = feed(upsert(todo), shows(raw(), there), shows(raw(LATER), after))
    assert result == "updated"
    assert [each["path"] for each in body(steps[1])] == [f"/permissions/read/{Everyone}"]
    again = new(permissions={"read": [Everyone]})
    assert feed(upsert(again), shows(raw(LATER), after))[0] == "unchanged"


@pytest.mark.parametrize("existing", ["update", "replace"])
def test_two_thousand_that_are_there_take_twenty_reads(existing: Existing) -> None:
    """And no write."""
    scope = nowhere()
    jobs = saving_jobs(scope, force=False, existing=existing)
    bulk, sent = Bulk(scope, jobs, 1, "raise", None), list[str]()
    feed(requests_of(bulk.opening()), root())
    for start in range(0, 2000, 100):
        ids = {f"t{n}": n for n in range(start, start + 100)}
        there = [object_of(id, NOW, title="x", n=n, Note=None) for id, n in ids.items()]
        given = [Todo(id=id, title="x", n=n) for id, n in ids.items()]
        failed, steps = feed(
            requests_of(bulk.writing(bulk.chunk(given))), says(200, {"data": there})
        )
        assert failed == []
        sent += asked(steps)
    assert len(sent) == 20
    assert all(each.startswith("GET ") for each in sent)
    assert bulk.summary.unchanged == 2000


def test_permissions_of_many_are_read_one_by_one() -> None:
    """A list does not show them; what is there is not written again."""
    todo = new(permissions={"read": [Everyone]})
    found, _ = feed(
        requests_of(looking_for(Todo, [todo], SCOPE, "update")), says(200, {"data": [raw()]})
    )
    after = shows(raw(), {"write": ["me"], "read": [Everyone]})
    result, steps = feed(upsert(todo, there=found[id(todo)]), after)
    assert result == "unchanged"
    assert asked(steps) == [f"GET {TODOS}/a"]


def test_touched_permissions_ask_for_nothing() -> None:
    """Where nothing is granted, nobody asks for what is there."""
    todo = new()
    assert todo.permissions.read == set()
    assert feed(upsert(todo), shows(raw()))[0] == "unchanged"


# Replacing and skipping


def test_replacing_what_differs() -> None:
    """What differs is sent, what only the server has is removed, if that is still what is there."""
    todo = new(n=5)
    result, steps = feed(upsert(todo, "replace"), shows(raw(seen=1)), shows(raw(LATER, n=5)))
    assert result == "updated"
    assert (steps[1].method, steps[1].headers["If-Match"]) == ("PATCH", f'"{NOW}"')
    assert body(steps[1]) == [
        {"op": "add", "path": "/data/n", "value": 5},
        {"op": "remove", "path": "/data/seen"},
    ]
    assert (todo.last_modified, todo.diff()) == (LATER, {})
    with pytest.raises(KeyError):
        todo["seen"]


def test_replacing_what_somebody_else_writes() -> None:
    """Is a conflict, whether something was there before or not."""
    error, _ = fails(upsert(new(n=5), "replace"), Conflict, shows(raw()), is_there(raw(LATER, n=7)))
    assert error.remote.n == 7  # type: ignore[union-attr]
    error, steps = fails(upsert(new(), "replace"), Conflict, is_missing(), is_there(raw(n=7)))
    assert steps[1].headers == {"If-None-Match": "*"}


def test_replacing_permissions() -> None:
    """Those that are given become the ones there; who writes stays in `write`, others stay."""
    me = {"id": "me"}
    there = {"read": ["old", Everyone], "write": ["me", "old"]}
    for given, sent in (
        ({"read": [Everyone]}, ["remove /permissions/read/old"]),
        ({"read": []}, ["remove /permissions/read/old", f"remove /permissions/read/{Everyone}"]),
        ({"write": ["w"]}, ["add /permissions/write/w", "remove /permissions/write/old"]),
        ({"read": ["old", Everyone]}, []),
    ):
        todo, answers = new(permissions=given), [shows(raw(), permissions=there), root(user=me)]
        if sent:
            answers.append(shows(raw(LATER), permissions={}))
        result, steps = feed(upserting(todo, nowhere(), "replace"), *answers)
        assert result == ("updated" if sent else "unchanged")
        operations = body(steps[-1]) if sent else []
        assert [f"{each['op']} {each['path']}" for each in operations] == sent


@pytest.mark.parametrize("existing", ["update", "replace"])
def test_what_the_server_writes_is_no_difference(existing: Existing) -> None:
    """The timestamp of the schema that a record fits; another `schema` is the program's."""
    scope = nowhere(collection="todos")
    there = shows(object_of("a", NOW, title="x", schema=NOW - 9))
    for given in (Record(id="a", title="x"), Record(id="a", title="x", schema=NOW - 20)):
        assert feed(upserting(given, scope, existing), there)[0] == "unchanged"
    own = Record(id="a", title="x", schema="v2")
    there = shows(object_of("a", NOW, title="x", schema="v1"))
    after = shows(object_of("a", LATER, title="x", schema="v2"))
    _, steps = feed(upserting(own, scope, existing), there, after)
    assert body(steps[1]) == {"data": {"schema": "v2"}}


def test_replacing_by_the_same() -> None:
    """Sends nothing."""
    todo = new()
    assert feed(upsert(todo, "replace"), shows(raw()))[0] == "unchanged"
    assert not todo.is_new


@pytest.mark.parametrize("elsewhere", [False, True])
def test_replacing_is_not_what_was_there(elsewhere: bool) -> None:
    """An answer that shows what was there before is an old one, though it has all that is sent."""
    there = raw(n=0, theirs=1)
    todo = new()
    if elsewhere:
        feed(upsert(todo, "update"), is_missing(), shows(raw(NOW - 5), status=201))
    flow = upserting(todo, SCOPE.scoped(bucket="c" if elsewhere else "b"), "replace")
    error, _ = fails(flow, BadReply, shows(there), shows(there))
    assert "repeat an old answer" in str(error)
    flow = upserting(new(), SCOPE, "replace")
    assert feed(flow, shows(there), shows(raw(NOW + 1)))[0] == "updated"


def test_skipping() -> None:
    """What is there is left alone, and the object, too."""
    todo = new()
    assert feed(upsert(todo, "skip"), shows(raw(n="anything")))[0] == "skipped"
    assert todo.is_new


def test_skipping_what_came_meanwhile() -> None:
    """It is there now, unless it is perhaps one's own."""
    todo = new()
    assert feed(upsert(todo, "skip"), is_missing(), is_there(raw(n=7)))[0] == "skipped"
    lost = after_loss(is_there(raw()))
    error, _ = fails(upsert(new(), "skip"), Conflict, is_missing(), lost)
    assert error.unconfirmed
    error, _ = fails(upsert(new(), "skip"), Conflict, is_missing(), refuses(412, 114))
    assert not error.unconfirmed  # it shows nothing that is there


# Many


def test_a_hundred_are_looked_for_at_once() -> None:
    """Those that need not be, and the second of one id, are left out."""
    given = [Todo(id=f"t{n}", title="x") for n in range(150)]
    given += [Todo(title="own"), Todo(id="t0", title="again"), Todo(id="a/b", title="bad")]
    page = says(200, {"data": [object_of("t3", title="y")]})
    found, steps = feed(
        requests_of(looking_for(Todo, given, SCOPE, "update")), page, says(200, {"data": []})
    )
    assert [each.path for each in steps] == [TODOS, TODOS]
    assert "in_id=" in steps[0].query
    assert len(found) == 150
    there = [each for each in found.values() if each.raw]
    assert [each.id for each in there] == ["t3"]


def upserts() -> Bulk:
    scope = nowhere()
    return Bulk(scope, saving_jobs(scope, force=False, existing="update"), 1, "collect", None)


def test_a_chunk_is_as_many_as_are_looked_for_at_once() -> None:
    """However few a batch may have."""
    assert feed(upserts().opening(), root(25))[0] == 100
    assert feed(upserts().opening(), root(500))[0] == 500


def writing_two(many: Bulk) -> Any:
    """The requests of writing two objects."""
    return requests_of(many.writing(many.chunk([new(), new(id="b")])))


def test_a_look_that_fails() -> None:
    """Each object fails with its reason, and when nobody answered that is the end."""
    many = upserts()
    failures, _ = feed(
        requests_of(many.writing(many.chunk([new(), new(id="b")]))), no_answer(), root(25)
    )
    assert [type(each.error) for each in failures] == [Timeout, Timeout]
    assert "cannot save Todo 'b'" in str(failures[1].error)
    assert many.is_in_vain
    assert many.summary.stopped is not None
    many = upserts()
    failures, _ = feed(
        requests_of(many.writing(many.chunk([new(), new(id="b")]))), forbids(), root(25)
    )
    assert [type(each.error) for each in failures] == [Forbidden, Forbidden]
    assert not many.is_in_vain


class Hooked(Todo, collection="todos"):
    """Whose hooks meet a Conflict of another object, as one that saves an audit entry does."""

    when: str = "before_save"

    def before_save(self) -> None:
        self._meet("before_save")

    def after_save(self) -> None:
        self._meet("after_save")

    def _meet(self, when: str) -> None:
        if self.when == when:
            there = {"existing": object_of("a")}
            conflict = Conflict("of a hook", status=412, details=there)
            conflict.local = self
            raise conflict


@pytest.mark.parametrize("when", ["before_save", "after_save"])
@pytest.mark.parametrize("existing", ["skip", "update", "replace"])
def test_a_conflict_of_a_hook_skips_nothing(existing: Existing, when: str) -> None:
    """It does not say that the object is there, even when it names it."""
    todo = Hooked(id="a", title="x", when=when)
    answers = [is_missing(), shows(raw(when=when), status=201)]
    flow = upserting(todo, SCOPE, existing)
    error, _ = fails(flow, Conflict, *answers[: 1 if when == "before_save" else 2])
    assert error.of_hook


@pytest.mark.parametrize("when", ["before_save", "after_save"])
def test_a_conflict_of_a_hook_is_no_lost_race(when: str) -> None:
    """Nothing is done again for it, and nobody is taken for the one who was first."""
    created = [is_missing(), shows(raw(when=when), status=201)]
    steps = 1 if when == "before_save" else 2
    flow = getting_or_creating(Hooked, SCOPE, "a", {"title": "x", "when": when}, {})
    fails(flow, Conflict, *created[:steps])
    changed = [shows(raw(when=when)), shows(raw(LATER, when=when, n=3))]
    flow = modifying(Hooked, SCOPE, "a", lambda each: each.__setattr__("n", 3), 5)
    fails(flow, Conflict, *changed[:steps])


def test_replacing_what_cannot_be_compared_overwrites_what_was_seen_only() -> None:
    """The whole is sent with the timestamp that was read; a later one is a Conflict."""
    flow = upserting(new(), SCOPE, "replace")
    _, steps = feed(flow, shows(raw(n="no number")), shows(raw(LATER)))
    assert (steps[1].method, steps[1].headers) == ("PUT", {"If-Match": f'"{NOW}"'})
    todo = new()
    flow = upserting(todo, SCOPE, "replace")
    error, _ = fails(flow, Conflict, shows(raw(n="no number")), is_there(raw(LATER, n=7)))
    assert error.remote.n == 7  # type: ignore[union-attr]
    _, steps = feed(todo.__kinto_save__(SCOPE, force=True), shows(raw(LATER + 1)))
    assert steps[0].headers == {}


@pytest.mark.parametrize("existing", ["update", "replace"])
def test_a_known_object_is_saved_with_its_own_precondition(existing: Existing) -> None:
    """Nothing is looked at, which would be taken for what it was changed from."""
    todo = new()
    feed(upserting(todo, SCOPE, existing), shows(raw()))
    todo.n = 5
    error, steps = fails(upserting(todo, SCOPE, existing), Conflict, is_there(raw(LATER, n=7)))
    assert asked(steps) == [f"PATCH {TODOS}/a"]
    assert steps[0].headers == {"If-Match": f'"{NOW}"'}
    assert error.contested == {("n",)}
