"""Many flows together, answered by hand: one answer for each, whatever comes of the whole."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeding import (
    NOW,
    after_loss,
    asked,
    batched,
    body,
    busy,
    fails,
    feed,
    gateway,
    is_missing,
    is_there,
    no_answer,
    no_connection,
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
    BatchError,
    Conflict,
    Everyone,
    Forbidden,
    Group,
    InvalidData,
    KintoError,
    NotFound,
    Record,
    ServerError,
    Session,
    Timeout,
    Tombstone,
    TransportError,
    Unauthorized,
)
from kinto_orm.bulk.batch import Batch
from kinto_orm.bulk.jobs import Job, Outcome
from kinto_orm.bulk.together import together
from kinto_orm.models.saving import saving
from kinto_orm.models.state import state_of
from kinto_orm.wire.flows import Flow, Pause
from kinto_orm.wire.messages import Reply, Request
from kinto_orm.wire.places import info_of

LATER = NOW + 1000
TODOS = "/buckets/b/collections/todos/records"


class Todo(Record, collection="todos"):
    title: str
    n: int = 0


def scope_for(most: int = 25) -> Session:
    """A scope whose server is known to take so many requests in a batch."""
    scope = nowhere()
    feed(info_of(scope), root(most))
    return scope


def stored(todo: Any, last_modified: int = NOW, **other: Any) -> dict[str, Any]:
    data = todo.model_dump(mode="json", exclude={"id", "last_modified"})
    return object_of(todo.id, last_modified, **{**data, **other})


def made(todo: Any, last_modified: int = NOW) -> Reply:
    """The answer to a creation."""
    return shows(stored(todo, last_modified), {"write": ["me"]}, status=201)


def saved(title: str = "x") -> Todo:
    todo = Todo(title=title)
    feed(saving(todo, nowhere()), made(todo))
    return todo


def tombstone(todo: Todo) -> Reply:
    return says(200, {"data": {"id": todo.id, "last_modified": LATER, "deleted": True}})


def queue(count: int, most: int = 25, *, given_ids: bool = False) -> tuple[Batch, list[Todo]]:
    """New objects in a queue."""
    batch = scope_for(most).batch()
    ids = [{"id": f"t{n}"} if given_ids else {} for n in range(count)]
    todos = [Todo(title=f"Todo {n}", **each) for n, each in enumerate(ids)]
    batch.save(*todos)
    return batch, todos


def run(batch: Batch, *answers: Any) -> list[str]:
    """Feed a batch all of its answers; the requests that it made, waits left out."""
    return asked(steps_of(batch, *answers))


def steps_of(batch: Batch, *answers: Any) -> list[Any]:
    """Feed a batch; its failures are in its outcomes."""
    flow = requests_of(batch.running())
    steps: list[Any] = []
    left = list(answers)
    try:
        step = next(flow)
        while True:
            steps.append(step)
            assert left, f"what is the answer to {step!r}?"
            answer = left.pop(0)
            step = flow.throw(answer) if isinstance(answer, BaseException) else flow.send(answer)
    except (StopIteration, BatchError):
        assert not left, f"{left} are answers to nothing"
    return steps


def statuses(batch: Batch) -> list[str]:
    return [each.status for each in batch.outcomes]


def errors(batch: Batch) -> list[Any]:
    return [each.error for each in batch.outcomes]


def carried(step: Request) -> list[str]:
    """The requests inside of a batch."""
    return [f"{each['method']} {each['path']}" for each in body(step)["requests"]]


# One answer for each


def test_flows_of_every_kind() -> None:
    """What is a flow can be queued: all of them share a request, and each gets its own answer."""
    new, old, gone, stale = Todo(title="new"), saved(), saved(), saved()
    old.title = "changed"
    batch = scope_for().batch()
    batch.save(new, old)
    batch.delete(gone)
    batch.refresh(stale)
    found = batch.get(Todo, "x")
    batch.kv.set("colour", "red")
    batch.kv.delete("other")
    (step,) = steps_of(
        batch,
        batched(
            made(new),
            shows(stored(old, LATER)),
            tombstone(gone),
            shows(stored(stale, LATER, title="theirs")),
            shows(object_of("x", title="found", n=1)),
            shows(object_of("colour", key="colour", value="red")),
            says(200, {"data": {"id": "other", "last_modified": LATER, "deleted": True}}),
        ),
    )
    assert (step.method, step.target) == ("POST", "/batch")
    keys = "/buckets/b/collections/kv/records"
    assert carried(step) == [
        f"PUT {TODOS}/{new.id}",
        f"PATCH {TODOS}/{old.id}",
        f"DELETE {TODOS}/{gone.id}",
        f"GET {TODOS}/{stale.id}",
        f"GET {TODOS}/x",
        f"PUT {keys}/colour",
        f"DELETE {keys}/other",
    ]
    assert statuses(batch) == [
        "created",
        "updated",
        "deleted",
        "fetched",
        "fetched",
        "stored",
        "deleted",
    ]
    assert (new.is_new, old.last_modified, stale.title) == (False, LATER, "theirs")
    assert batch.outcomes[2].result == Tombstone(gone.id, LATER)
    assert found.result is not None
    assert found.result.title == "found"


def test_what_an_item_carries() -> None:
    """Headers and body of the request as it is alone; a path that has /batch in it is escaped."""
    there = Todo(title="x")
    batch = scope_for().scoped(bucket="batches").batch()
    batch.save(there)
    batch.refresh(saved_in("batches"))
    (step,) = steps_of(
        batch, batched(made(there), shows(object_of("x", LATER, title="y", n=0), {"write": []}))
    )
    first, second = body(step)["requests"]
    assert first["path"].startswith("/buckets/%62atches/")
    assert first["headers"] == {"If-None-Match": "*"}
    assert first["body"] == {"data": {"title": "x", "n": 0}}
    assert "body" not in second
    # One 304 would turn the whole batch into a 500.
    assert second["headers"] == {}


def saved_in(bucket: str) -> Todo:
    todo = Todo(id="x", title="x")
    feed(saving(todo, nowhere(bucket)), made(todo))
    return todo


def test_one_operation_needs_no_batch() -> None:
    """It is sent as it is."""
    batch, (todo,) = queue(1)
    assert run(batch, made(todo)) == [f"PUT {TODOS}/{todo.id}"]
    assert statuses(batch) == ["created"]


def test_nothing_to_send() -> None:
    """An empty batch asks nothing, and neither does one of unchanged objects."""
    assert run(nowhere().batch()) == []
    batch = scope_for().batch()
    batch.save(saved(), saved())
    assert run(batch) == []
    assert statuses(batch) == ["unchanged", "unchanged"]


def test_as_many_as_the_server_takes() -> None:
    """Then the next request begins."""
    batch, todos = queue(5, most=2)
    answers = batched(*map(made, todos[:2])), batched(*map(made, todos[2:4])), made(todos[4])
    assert run(batch, *answers) == ["POST /batch", "POST /batch", f"PUT {TODOS}/{todos[4].id}"]
    assert statuses(batch) == ["created"] * 5


@pytest.mark.parametrize("most", [0, -1, "5", None])
def test_a_server_that_does_not_say_how_many(most: Any) -> None:
    """Kinto's default is taken."""
    scope = nowhere()
    batch = scope.batch()
    todos = [Todo(title=str(n)) for n in range(26)]
    batch.save(*todos)
    answers = root(most), batched(*map(made, todos[:25])), made(todos[25])
    assert len(run(batch, *answers)) == len(answers)


def test_large_bodies_are_parted() -> None:
    """A proxy takes no more than a megabyte."""
    batch, todos = queue(3)
    for each in todos:
        each.title = "x" * 400_000
    steps = steps_of(batch, batched(*map(made, todos[:2])), made(todos[2]))
    assert len(steps) == 2
    assert all(len(each.body) < 1_000_000 for each in steps)


def test_two_operations_on_one_object() -> None:
    """They are never in one request, so that the second one knows what the first one did."""
    todo, other = Todo(title="x"), Todo(title="y")
    batch = scope_for().batch()
    batch.save(todo)
    batch.save(other)
    batch.delete(todo)
    answers = batched(made(todo), made(other)), tombstone(todo)
    first, second = steps_of(batch, *answers)
    assert first.path == "/batch"
    assert second.headers == {"If-Match": f'"{NOW}"'}
    assert statuses(batch) == ["created", "created", "deleted"]


def test_a_mistake_is_an_outcome_of_its_own() -> None:
    """What cannot be sent fails, and the others go."""
    bad, good = Todo(title="\ud800"), Todo(title="x")
    batch = scope_for().batch()
    batch.save(bad, good)
    assert run(batch, made(good)) == [f"PUT {TODOS}/{good.id}"]
    assert statuses(batch) == ["failed", "created"]
    assert isinstance(batch.outcomes[0].error, InvalidData)


def test_refusals_are_outcomes() -> None:
    """Each is what the same call raises alone."""
    batch, (first, second, third) = queue(3, given_ids=True)
    batch.get(Todo, "nobody")
    there = is_there(stored(second, title="theirs"))
    steps_of(batch, batched(made(first), there, refuses(403, 121, "a plugin"), is_missing()))
    assert statuses(batch) == ["created", "failed", "failed", "failed"]
    _, conflict, forbidden, missing = errors(batch)
    assert isinstance(conflict, Conflict)
    assert (conflict.local, conflict.fields) == (second, {"title"})
    assert isinstance(forbidden, Forbidden)
    assert isinstance(missing, NotFound)
    assert third.is_new


# What goes by itself


def test_what_a_batch_must_not_carry() -> None:
    """Structure, permissions and removed fields go in their turn, after what is queued before."""
    first, last = Todo(title="first"), Todo(title="last")
    shared, group = saved(), Group(id="g", bucket="b", members=[])
    shared.permissions.grant("read", Everyone)
    batch = scope_for().batch()
    batch.save(first, shared.permissions, group, last)
    permitted = shows(stored(shared, LATER), {"read": [Everyone], "write": ["me"]})
    group_made = shows(object_of("g", members=[]), status=201)
    assert run(batch, made(first), permitted, group_made, made(last)) == [
        f"PUT {TODOS}/{first.id}",
        f"PATCH {TODOS}/{shared.id}",
        "PUT /buckets/b/groups/g",
        f"PUT {TODOS}/{last.id}",
    ]
    assert statuses(batch) == ["created", "updated", "created", "created"]


def test_what_is_asked_before() -> None:
    """Where the personal bucket is, is found out once, outside of the batch."""
    scope = nowhere("default", auth="a:b")
    batch = scope.batch()
    todos = [Todo(title="a"), Todo(title="b")]
    batch.save(*todos)
    user = {"id": "basicauth:1", "bucket": "3e2d"}
    first, second = steps_of(batch, root(user=user), batched(*map(made, todos)))
    assert asked([first]) == ["GET /"]
    assert all("/buckets/3e2d/" in each for each in carried(second))


def test_missing_parents_of_several() -> None:
    """Each makes what is missing, and finds it made; then they share a request again."""
    batch = scope_for().batch()
    batch.kv.set("a", 1)
    batch.kv.set("b", 2)
    missing = is_missing("collection")
    done = [shows(object_of(each, key=each, value=n)) for n, each in enumerate("ab", 1)]
    steps = run(
        batch,
        batched(missing, missing),
        says(201, {}),
        is_there(object_of("kv")),
        batched(*done),
    )
    making = "PUT /buckets/b/collections/kv"
    assert steps == ["POST /batch", making, making, "POST /batch"]
    assert statuses(batch) == ["stored", "stored"]


def test_a_flow_of_several_steps() -> None:
    """Its reads are carried, what must go alone goes alone, and a race is run again."""
    batch = scope_for().batch()
    batch.kv.set("a/x", 1)
    batch.kv.set("b/x", 2)
    seen = [shows(object_of(each, key=each, value={})) for each in "ab"]
    done = [shows(object_of(k, LATER, key=k, value={"x": n})) for n, k in enumerate("ab", 1)]
    steps = run(batch, batched(*seen), done[0], is_there(object_of("b", LATER)), seen[1], done[1])
    record = "/buckets/b/collections/kv/records"
    assert steps == [
        "POST /batch",
        f"PATCH {record}/a",
        f"PATCH {record}/b",
        f"GET {record}/b",
        f"PATCH {record}/b",
    ]
    assert statuses(batch) == ["stored", "stored"]


# PostgreSQL's 409


def test_what_a_409_takes_back() -> None:
    """Every item before the last 409 is undone, although it reports success; later ones stay."""
    batch, (a, b, c, d) = queue(4)
    first = batched(made(a), busy(409), busy(409), made(d))
    again_ = batched(made(a, LATER), made(b, LATER), made(c, LATER))
    steps = steps_of(batch, first, again_)
    assert [len(carried(each)) for each in steps] == [4, 3]
    assert statuses(batch) == ["created"] * 4
    assert [each.last_modified for each in (a, b, c, d)] == [LATER, LATER, LATER, NOW]


def test_a_409_again_and_again() -> None:
    """After four rounds, with waits between, they are sent one by one."""
    batch, (a, b) = queue(2)
    flow = batch.running()
    rounds = [batched(made(a), busy(409)), None] * 4
    _, steps = feed(flow, None, *rounds, made(a), made(b))
    assert asked(steps) == ["POST /batch"] * 4 + [f"PUT {TODOS}/{each.id}" for each in (a, b)]
    assert sum(isinstance(each, Pause) for each in steps) == 4
    assert statuses(batch) == ["created", "created"]


def test_a_409_is_no_loss() -> None:
    """What is there afterwards is somebody else's."""
    batch, (a, b) = queue(2)
    answers = batched(busy(409), made(b)), batched(is_there(stored(a)))
    steps_of(batch, *answers)
    assert statuses(batch) == ["failed", "created"]
    assert not batch.outcomes[0].error.unconfirmed  # type: ignore[union-attr]


@given(st.data())
def test_what_is_believed_is_what_is_stored(data: st.DataObject) -> None:
    """Of a server that takes items back as PostgreSQL does, whichever they are."""
    batch, todos = queue(data.draw(st.integers(2, 6)))
    there: dict[str, int] = {}
    clock = iter(range(NOW, NOW + 1000))

    def put(path: str, content: Any) -> Reply:
        id = path.rsplit("/", 1)[-1]
        if id in there:
            return is_there(object_of(id, there[id], **content["data"]))
        there[id] = next(clock)
        return shows(object_of(id, there[id], **content["data"]), status=201)

    def answer(request: Request) -> Reply:
        if request.path != "/batch":
            return put(request.path, body(request))
        items = body(request)["requests"]
        collides = data.draw(
            st.lists(st.booleans(), min_size=len(items), max_size=len(items)), label="409"
        )
        last = max((n for n, each in enumerate(collides) if each), default=-1)
        before, replies = dict(there), []
        for n, (each, collision) in enumerate(zip(items, collides, strict=True)):
            replies.append(busy(409) if collision else put(each["path"], each["body"]))
            if n == last:
                there.clear()
                there.update(before)
        return batched(*replies)

    flow = requests_of(batch.running())
    try:
        step = next(flow)
        while True:
            step = flow.send(answer(step))  # type: ignore[arg-type]
    except StopIteration:
        pass
    assert statuses(batch) == ["created"] * len(todos)
    assert {each.id: each.last_modified for each in todos} == there


# Busy items


@pytest.mark.parametrize("first", [busy(503), busy(429), says(502, {}), says(504, {})])
def test_a_busy_item_is_sent_again_alone(first: Reply) -> None:
    """The driver tries that as often as it does."""
    batch, (a, b) = queue(2)
    steps = run(batch, batched(first, made(b)), made(a))
    assert steps == ["POST /batch", f"PUT {TODOS}/{a.id}"]
    assert statuses(batch) == ["created", "created"]


@pytest.mark.parametrize(("status", "lost"), [(503, False), (429, False), (502, True), (504, True)])
@pytest.mark.parametrize("given_ids", [False, True])
def test_what_a_busy_item_may_have_done(status: int, lost: bool, given_ids: bool) -> None:
    """A gateway's word leaves it open; Kinto's own says that nothing was done."""
    batch, (a, b) = queue(2, given_ids=given_ids)
    item = busy(status) if status in (503, 429) else says(status, {})
    steps_of(batch, batched(item, made(b)), is_there(stored(a)))
    if lost and not given_ids:
        assert statuses(batch) == ["created", "created"]
        return
    error = batch.outcomes[0].error
    assert isinstance(error, Conflict)
    assert error.unconfirmed is lost


def test_a_busy_item_that_stays_busy() -> None:
    """It fails with that; the others are done."""
    batch, (a, b) = queue(2)
    steps_of(batch, batched(busy(), made(b)), busy())
    assert statuses(batch) == ["failed", "created"]
    assert isinstance(batch.outcomes[0].error, ServerError)
    assert not state_of(a).doubt


def test_an_item_that_failed_with_a_500() -> None:
    """It is an answer: nothing is sent again, and the object is in doubt."""
    batch, (a, b) = queue(2)
    steps_of(batch, batched(says(500, {"errno": 999}), made(b)))
    assert statuses(batch) == ["failed", "created"]
    assert state_of(a).doubt


# The whole batch fails


@pytest.mark.parametrize("status", [500, 502, 503, 504, 400, 404, 413])
def test_one_item_spoils_the_whole(status: int) -> None:
    """They are sent one by one, so that each has its own outcome."""
    batch, (a, b, c) = queue(3)
    answers = gateway(status), made(a), refuses(400, 107), made(c)
    steps = run(batch, *answers)
    assert steps == ["POST /batch", *[f"PUT {TODOS}/{each.id}" for each in (a, b, c)]]
    assert statuses(batch) == ["created", "failed", "created"]


@pytest.mark.parametrize(
    ("whole", "lost"),
    [
        (gateway(504), True),
        (gateway(502), True),
        (gateway(503), True),
        (says(500, {"errno": 999}), True),
        (busy(503), False),
        (after_loss(busy(503)), True),
        (refuses(400, 107), False),
    ],
)
@pytest.mark.parametrize("given_ids", [False, True])
def test_what_a_failed_batch_may_have_done(whole: Reply, lost: bool, given_ids: bool) -> None:
    """A creation that is found may be its own then, by the rule that holds for it alone."""
    batch, (a, b) = queue(2, given_ids=given_ids)
    steps_of(batch, whole, is_there(stored(a)), made(b))
    if lost and not given_ids:
        assert statuses(batch) == ["created", "created"]
        return
    error = batch.outcomes[0].error
    assert isinstance(error, Conflict)
    assert error.unconfirmed is lost


@pytest.mark.parametrize(("status", "cls"), [(401, Unauthorized), (403, Forbidden)])
def test_nobody_may_send_batches(status: int, cls: type[KintoError]) -> None:
    """Each operation is refused; nothing more is sent."""
    batch, todos = queue(3)
    assert run(batch, says(status, {"errno": 104})) == ["POST /batch"]
    assert statuses(batch) == ["failed"] * 3
    assert all(type(each) is cls for each in errors(batch))
    assert f"cannot save Todo {todos[1].id!r}" in str(errors(batch)[1])
    assert not any(state_of(each).doubt for each in todos)


@pytest.mark.parametrize("failure", [no_answer(), BadReply("cut off"), no_connection()], ids=repr)
def test_no_answer(failure: TransportError) -> None:
    """Each has an error of its own, with its act; nobody knows what was done."""
    batch, todos = queue(3)
    assert run(batch, copy.copy(failure)) == ["POST /batch"]
    found = errors(batch)
    assert len({id(each) for each in found}) == 3
    for each, todo in zip(found, todos, strict=True):
        assert type(each) is type(failure)
        assert each.lost is failure.lost
        assert f"cannot save Todo {todo.id!r}" in str(each)
        assert "cannot send a batch of 3" in str(each)
        assert state_of(todo).doubt is failure.lost
        assert todo.is_new


def test_after_a_lost_batch() -> None:
    """Saving again finds what was done already."""
    batch, (a, b) = queue(2)
    steps_of(batch, no_answer())
    batch.save(a, b)
    steps_of(batch, batched(is_there(stored(a)), made(b)))
    assert statuses(batch)[2:] == ["created", "created"]


ODD = [
    says(200, {}),
    says(200, {"responses": None}),
    says(200, {"responses": {}}),
    says(200, {"responses": []}),
    says(200, {"responses": [{"status": 201}] * 3}),
    says(200, []),
    Reply(200, {}, b"<html>"),
    Reply(200, {}, b""),
]


@pytest.mark.parametrize("odd", ODD)
def test_an_answer_that_is_none(odd: Reply) -> None:
    """Which item was done cannot be told: all fail, and are in doubt."""
    batch, todos = queue(2)
    assert run(batch, copy.copy(odd)) == ["POST /batch"]
    assert all(isinstance(each, BadReply) and each.lost for each in errors(batch))
    assert all(state_of(each).doubt and each.is_new for each in todos)


@pytest.mark.parametrize(
    "item",
    [
        None,
        [],
        "text",
        {},
        {"status": "201"},
        {"status": True},
        {"status": 99},
        {"status": 600},
        {"status": 200, "body": []},
        {"status": 200, "body": None},
        {"status": 200, "headers": 5, "body": {"data": {}}},
        {"status": 404, "body": "not found"},
        {"status": 412},
    ],
)
def test_an_item_that_is_none(item: Any) -> None:
    """It is unreadable for its own operation, and for no other."""
    batch, (a, b) = queue(2)
    good = json.loads(batched(made(b)).body)["responses"][0]
    assert run(batch, says(200, {"responses": [item, good]})) == ["POST /batch"]
    assert statuses(batch) == ["failed", "created"]
    assert isinstance(batch.outcomes[0].error, BadReply)
    assert state_of(a).doubt
    assert a.is_new


def test_answers_in_another_order() -> None:
    """An answer about another object is believed by nobody."""
    batch, (a, b) = queue(2)
    steps_of(batch, batched(made(b), made(a)))
    assert all(isinstance(each, BadReply) for each in errors(batch))
    assert a.is_new
    assert b.is_new


def test_a_loss_of_the_whole_is_one_of_each_item() -> None:
    """An earlier sending of the batch was lost: what is there may be its own."""
    batch, (a, b) = queue(2)
    known = Todo(id="given", title="x")
    batch.save(known)
    answer = after_loss(batched(is_there(stored(a)), made(b), is_there(stored(known))))
    steps_of(batch, answer)
    assert statuses(batch) == ["created", "created", "failed"]
    assert batch.outcomes[2].error.unconfirmed  # type: ignore[union-attr]


def test_a_loss_is_carried_from_round_to_round() -> None:
    """What the first round lost may be found by the second one."""
    batch, (a, b) = queue(2)
    first = after_loss(batched(busy(409), made(b)))
    steps_of(batch, first, batched(is_there(stored(a))))
    assert statuses(batch) == ["created", "created"]


# Nobody is there


def test_an_outage_stops_it() -> None:
    """Two operations or more without an answer: what comes after is not sent, and says so."""
    batch, todos = queue(6, most=2)
    assert run(batch, no_answer()) == ["POST /batch"]
    assert statuses(batch) == ["failed"] * 6
    sent, left = errors(batch)[:2], errors(batch)[2:]
    assert all(each.lost for each in sent)
    assert not any(each.lost for each in left)
    assert all("which was not sent" in str(each) for each in left)
    assert [state_of(each).doubt for each in todos] == [True, True, False, False, False, False]


def test_one_that_is_lost_stops_nothing() -> None:
    """It may be its own fault."""
    batch, (a, b, c) = queue(3, most=1)
    steps_of(batch, no_answer(), made(b), made(c))
    assert statuses(batch) == ["failed", "created", "created"]
    assert state_of(a).doubt


def test_two_in_a_row_stop_it() -> None:
    """Whichever requests they were in; an answer between them begins anew."""
    batch, todos = queue(5, most=1)
    steps_of(batch, no_answer(), made(todos[1]), no_answer(), busy())
    assert statuses(batch) == ["failed", "created", "failed", "failed", "failed"]
    assert "which was not sent" in str(errors(batch)[4])
    assert isinstance(errors(batch)[4], ServerError)


def test_refusals_are_answers() -> None:
    """A server that refuses everything is there."""
    batch, _ = queue(4, most=2)
    steps = run(batch, *[batched(refuses(400, 107), refuses(400, 107))] * 2)
    assert len(steps) == 2


def test_two_in_a_row_of_a_failed_batch() -> None:
    """Sent one by one, the rest is given up with the last error."""
    batch, todos = queue(4)
    steps = run(batch, gateway(504), no_answer(), no_answer())
    assert len(steps) == 3
    assert statuses(batch) == ["failed"] * 4
    assert all(isinstance(each, Timeout) for each in errors(batch))
    assert all(state_of(each).doubt for each in todos)


# Interrupts


INTERRUPTS = [KeyboardInterrupt(), asyncio.CancelledError(), SystemExit()]
each_interrupt = pytest.mark.parametrize("interrupt", INTERRUPTS, ids=repr)


def interrupted(batch: Batch, interrupt: BaseException, *answers: Any) -> None:
    """Feed a batch answers, and then an interrupt."""
    error, _ = fails(requests_of(batch.running()), BaseException, *answers, interrupt)
    assert error is interrupt


def is_unknown(outcome: Outcome[Any]) -> bool:
    """Whether it has failed, and its error says that it may have been done."""
    error = outcome.error
    if outcome.status != "failed" or not isinstance(error, TransportError):
        return False
    assert "nobody waited for the answer" in str(error)
    assert "It may have been done or not" in str(error)
    assert "queue it again if it was not done" in str(error)
    return error.lost


@each_interrupt
def test_an_interrupt(interrupt: BaseException) -> None:
    """It goes on up; what was under way is in doubt, and the next run sends the others only."""
    batch, todos = queue(6, most=2)
    interrupted(batch, interrupt, batched(*map(made, todos[:2])))
    assert statuses(batch) == ["created"] * 2 + ["failed"] * 2 + ["queued"] * 2
    assert all(map(is_unknown, batch.outcomes[2:4]))
    assert f"cannot save Todo {todos[2].id!r}" in str(errors(batch)[2])
    assert [state_of(each).doubt for each in todos] == [False, False, True, True, False, False]
    assert len(batch) == 2
    (step,) = steps_of(batch, batched(*map(made, todos[4:])))
    assert carried(step) == [f"PUT {TODOS}/{each.id}" for each in todos[4:]]
    assert statuses(batch) == ["created"] * 2 + ["failed"] * 2 + ["created"] * 2
    assert len(batch) == 0


def test_what_was_interrupted_is_queued_again() -> None:
    """The object knows that it may be there; so nothing is done twice."""
    batch, todos = queue(2)
    interrupted(batch, KeyboardInterrupt())
    batch.save(*todos)
    steps_of(batch, batched(is_there(stored(todos[0])), made(todos[1])))
    assert statuses(batch) == ["failed", "failed", "created", "created"]


@each_interrupt
def test_an_interrupt_of_one_that_is_sent_alone(interrupt: BaseException) -> None:
    """That one is in doubt, and those that have no answer yet."""
    batch, (a, b, c) = queue(3)
    interrupted(batch, interrupt, refuses(400, 107), made(a))
    assert statuses(batch) == ["created", "failed", "failed"]
    assert [state_of(each).doubt for each in (a, b, c)] == [False, True, True]


def test_an_interrupt_while_it_waits() -> None:
    """Between two rounds of a 409: they were sent, and are not sent again."""
    batch, (a, _) = queue(2)
    fails(
        batch.running(), KeyboardInterrupt, None, batched(made(a), busy(409)), KeyboardInterrupt()
    )
    assert all(map(is_unknown, batch.outcomes))
    assert run(batch) == []


@each_interrupt
def test_an_interrupt_before_a_request(interrupt: BaseException) -> None:
    """What was put into a request that was not sent is not begun; nobody doubts of it."""
    batch, todos = queue(3)
    batch.kv.set("k", 1)
    fails(batch.running(), type(interrupt), interrupt)
    assert statuses(batch) == ["queued"] * 4
    assert not any(state_of(each).doubt for each in todos)
    answers = [*map(made, todos), shows(object_of("k", key="k", value=1))]
    assert run(batch, batched(*answers)) == ["POST /batch"]
    assert statuses(batch) == ["created"] * 3 + ["stored"]


LIST = shows(object_of("k", key="k", value=["a", "b"]))


@each_interrupt
@pytest.mark.parametrize("act", ["append", "delete an item", "delete", "set"])
def test_an_interrupted_write_of_a_key(act: str, interrupt: BaseException) -> None:
    """It is never sent again by itself: an item would be there, or be gone, twice."""
    batch = scope_for().batch()
    before: list[Reply] = []
    if act in ("append", "delete an item"):
        batch.kv.set("k/-", "c") if act == "append" else batch.kv.delete("k/0")
        # The list is read together with the other one's writing, and changed afterwards.
        before = [batched(LIST, shows(object_of("other", key="other", value=1)))]
    else:
        batch.kv.set("k", 1) if act == "set" else batch.kv.delete("k")
    batch.kv.set("other", 1)
    interrupted(batch, interrupt, *before)
    first, second = batch.outcomes
    assert is_unknown(first)
    assert f"cannot {first.act} {first.target!r}" in str(first.error)
    assert second.status == ("stored" if before else "failed")
    assert run(batch) == []


def test_an_interrupt_while_an_answer_is_taken() -> None:
    """A signal comes between any two lines: what was sent is not sent again."""

    def taking() -> Flow[None]:
        yield Request("PUT", "/x")
        raise KeyboardInterrupt

    outcome: Outcome[None] = Outcome("set", "k")
    job = Job(outcome, taking)
    fails(requests_of(together(scope_for(), [job])), KeyboardInterrupt, says(200, {}))
    assert is_unknown(outcome)


def test_what_is_queued_while_it_runs() -> None:
    """It is sent by the next run, after what the interrupted one left."""
    batch, todos = queue(3, most=1)
    flow = requests_of(batch.running())
    next(flow)
    batch.kv.set("k", 1)
    with pytest.raises(KeyboardInterrupt):
        flow.throw(KeyboardInterrupt())
    assert statuses(batch) == ["failed", "queued", "queued", "queued"]
    kv = shows(object_of("k", key="k", value=1))
    assert [each.split("/")[-1] for each in run(batch, made(todos[1]), made(todos[2]), kv)] == [
        todos[1].id,
        todos[2].id,
        "k",
    ]


def test_an_interrupt_before_anything() -> None:
    """While the server is asked how many it takes: all can be sent by the next run."""
    scope = nowhere()
    batch = scope.batch()
    todos = [Todo(title="a"), Todo(title="b")]
    batch.save(*todos)
    fails(requests_of(batch.running()), KeyboardInterrupt, KeyboardInterrupt())
    assert len(batch) == 2
    assert len(run(batch, root(), batched(*map(made, todos)))) == 2


@pytest.mark.parametrize("failure", [no_answer(), Reply(200, {}, b"<html>"), gateway(502)])
def test_a_server_that_does_not_say_what_it_takes(failure: Any) -> None:
    """That is the batch's own failure; nothing was sent, and all is still queued."""
    batch = nowhere().batch()
    batch.save(Todo(title="a"), Todo(title="b"))
    fails(requests_of(batch.running()), KintoError, copy.copy(failure))
    assert statuses(batch) == ["queued", "queued"]
    assert len(batch) == 2


def test_the_error_names_each_failure() -> None:
    """In the order of the queue; and a second run has nothing to do."""
    batch, todos = queue(3)
    answer = batched(refuses(400, 107), made(todos[1]), refuses(400, 107))
    error, _ = fails(requests_of(batch.running()), BatchError, answer)
    assert list(error.exceptions) == [errors(batch)[0], errors(batch)[2]]
    assert "2 of 3 operations failed" in str(error)
    assert run(batch) == []


# Whatever comes


@given(
    count=st.integers(2, 7),
    most=st.integers(1, 4),
    data=st.data(),
)
def test_each_has_one_outcome(count: int, most: int, data: st.DataObject) -> None:
    """Whatever is answered: it ends, every operation has an outcome, and no belief is invented."""
    batch, todos = queue(count, most)

    def single(id: str) -> Any:
        kinds = ["made", "busy", "lost", "refused", "odd", "gateway"]
        kind = data.draw(st.sampled_from(kinds), label=id)
        todo = next(each for each in todos if each.id == id)
        return {
            "made": made(todo),
            "busy": busy(),
            "lost": no_answer(),
            "refused": refuses(400, 107),
            "odd": Reply(200, {}, b""),
            "gateway": says(502, {}),
        }[kind]

    def items(ids: Sequence[str]) -> Any:
        kind = data.draw(st.sampled_from(["items", "items", "lost", "failed", "odd"]), label="all")
        if kind == "items":
            found = [single(each) for each in ids]
            return batched(*[busy(409) if isinstance(e, Exception) else e for e in found])
        return {"lost": no_answer(), "failed": gateway(504), "odd": says(200, {})}[kind]

    flow, said = requests_of(batch.running()), set[str]()
    try:
        step: Any = next(flow)
        for _ in range(100):
            if step.path == "/batch":
                answer = items([each.rsplit("/", 1)[-1] for each in carried(step)])
            else:
                answer = single(step.path.rsplit("/", 1)[-1])
            if isinstance(answer, Reply):
                said |= {each.id for each in todos if each.id.encode() in answer.body}
            step = flow.throw(answer) if isinstance(answer, Exception) else flow.send(answer)
        pytest.fail("it does not end")
    except (StopIteration, BatchError):
        pass
    assert set(statuses(batch)) <= {"created", "failed"}
    for each, todo in zip(batch.outcomes, todos, strict=True):
        assert (each.status == "created") is not todo.is_new
        assert (each.error is None) is (each.status == "created")
        assert todo.is_new or todo.id in said


def test_an_interrupt_while_answers_are_handed_out() -> None:
    """What has its answer has its outcome, also when another item is sent once more."""
    batch, (a, b, c) = queue(3)
    flow = requests_of(batch.running())
    fails(
        flow, KeyboardInterrupt, batched(made(a), refuses(503, 201), made(c)), KeyboardInterrupt()
    )
    assert statuses(batch) == ["created", "failed", "created"]
    assert [state_of(each).doubt for each in (a, b, c)] == [False, True, False]
    assert feed(b.__kinto_save__(nowhere()), is_there(stored(b)))[0] == "created"


def test_what_is_not_sent_is_not_lost() -> None:
    """Two items in a row got no answer: those after them were not sent again."""
    batch, todos = queue(4)
    flow = requests_of(batch.running())
    error, _ = fails(flow, BatchError, refuses(404, 111), no_answer(), no_answer())
    assert [each.lost for each in error.exceptions] == [True, True, False, False]
    assert [state_of(each).doubt for each in todos] == [True, True, False, False]
