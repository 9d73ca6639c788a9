"""Whose write was it? An equal value is no proof, unless nobody else can have written it.

Each way of writing meets each fault, and another writer who did the same meanwhile.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from bridge import both_drivers
from conftest import Wire
from faults import (
    Answer,
    FaultyServer,
    answer_halved,
    answer_lost,
    at_write,
    done_then,
    gateway,
    hangs_up,
    kinto_says,
    meanwhile,
    says,
)
from kinto_orm import (
    BatchError,
    Conflict,
    ConnectFailed,
    Everyone,
    Group,
    Permissions,
    Record,
    Retry,
    ServerError,
    Session,
    Template,
    retry_on_conflict,
)

driver = both_drivers(__name__)

FAST = Retry(deadline=5, backoff_factor=0.001)

# What Kinto says when it did nothing.
NOT_DONE = {
    "503": kinto_says(503, 201),
    "503 at once": kinto_says(503, 201, Retry_After="0"),
    "409": kinto_says(409, 122, Retry_After="3"),
    "429": kinto_says(429, 117),
}
# What leaves open whether the write was done.
LOST: dict[str, Callable[[Answer], Answer]] = {
    "closed": lambda first: _then_hang_up(first),
    "gateway's 502": lambda first: _then(first, gateway(502)),
    "gateway's 503": lambda first: _then(first, gateway(503)),
    "gateway's 504": lambda first: _then(first, gateway(504)),
}


def _then(first: Callable[[Any], object], answer: Answer) -> Answer:
    def answered(exchange: Any) -> None:
        first(exchange)
        answer(exchange)

    return answered


def _then_hang_up(first: Callable[[Any], object]) -> Answer:
    return _then(first, hangs_up)


class Todo(Record, collection="todos"):
    title: str = ""
    tags: list[str] = []


class Named(Todo, id_factory=lambda: "x"):
    """Whose ids are the same for everybody."""


@pytest.fixture
def lossy(proxy: FaultyServer, wire: Wire) -> Iterator[FaultyServer]:
    """The current session goes through the proxy, into the bucket of `wire`."""
    with Session(proxy.url, auth="alice:s3cret", bucket=wire.session.bucket, retry=FAST) as session:
        session.server_info()
        proxy.received.clear()
        proxy.session = session  # type: ignore[attr-defined]
        yield proxy


@dataclass(frozen=True)
class Way:
    """A way of writing.

    Attributes:
        begin: Makes what is there before, and gives the object as a program has it.
        write: Changes and writes it, on a session.
    """

    begin: Callable[[Session], Any]
    write: Callable[[Any, Session], object]


def stored_todo(session: Session) -> Todo:
    Todo(id="x", title="old").save(session=session)
    return Todo.get("x", session=session)


def stored_note(session: Session) -> Record:
    notes = session.scoped(collection="todos")
    Record(id="x", extra=1).save(session=notes)
    return Record.get("x", session=notes)


def stored_group(session: Session) -> Group:
    Group(id="g").save(session=session)
    return Group.get("g", session=session)


def stored_template(session: Session) -> Template:
    Template(name="t", source="a").save(session=session)
    return Template.get("t", session=session)


def nothing(session: Session) -> None:
    """Nothing is there."""


def save(todo: Any, session: Session) -> None:
    todo.title = "new"
    todo.save(session=session)


def save_with_permissions(todo: Any, session: Session) -> None:
    todo.title = "new"
    todo.permissions.grant("read", Everyone)
    todo.save(session=session)


def take_away(note: Any, session: Session) -> None:
    del note["extra"]
    note.save()


def save_in_batch(todo: Any, session: Session) -> None:
    todo.title = "new"
    one_error(session, lambda batch: batch.save(todo))


def save_in_bulk(todo: Any, session: Session) -> None:
    todo.title = "new"
    session.save_all([todo], on_error="raise")


def delete_in_batch(todo: Any, session: Session) -> None:
    one_error(session, lambda batch: batch.delete(todo))


def create_two_in_batch(_: None, session: Session) -> None:
    one_error(session, lambda batch: batch.save(Todo(id="x", title="new"), Todo(id="y")))


def one_error(session: Session, queue: Callable[[Any], object]) -> None:
    """Run a batch; what failed in it is raised by itself."""
    try:
        with session.batch() as batch:
            queue(batch)
    except BatchError as error:
        raise error.exceptions[0] from None


def join(group: Any, session: Session) -> None:
    group.members.append("account:bob")
    group.save(session=session)


def edit(template: Any, session: Session) -> None:
    template.source = "b"
    template.save(session=session)


WAYS = {
    "save": Way(stored_todo, save),
    "save with permissions": Way(stored_todo, save_with_permissions),
    "take a field away": Way(stored_note, take_away),
    "save in a batch": Way(stored_todo, save_in_batch),
    "save in bulk": Way(stored_todo, save_in_bulk),
    "delete": Way(stored_todo, lambda todo, session: todo.delete(session=session)),
    "delete in a batch": Way(stored_todo, delete_in_batch),
    "create": Way(nothing, lambda _, session: Todo(id="x", title="new").save(session=session)),
    "create under a factory's id": Way(
        nothing, lambda _, session: Named(title="new").save(session=session)
    ),
    "create in a batch": Way(nothing, create_two_in_batch),
    "create a group": Way(nothing, lambda _, session: Group(id="g").save(session=session)),
    "save a group": Way(stored_group, join),
    "save a template": Way(stored_template, edit),
}


@pytest.mark.parametrize("fault", NOT_DONE)
@pytest.mark.parametrize("name", WAYS)
def test_refused_and_then_beaten_by_an_equal_write(
    lossy: Any, wire: Wire, name: str, fault: str
) -> None:
    """Kinto did nothing, and another writer did the same: that one is the winner."""
    way = WAYS[name]
    way.begin(wire.session)
    mine, theirs = again(way, lossy.session), again(way, wire.session)
    if fault in ("503", "429"):
        lossy.answers.append(at_write(NOT_DONE[fault]))
    lossy.answers.append(
        at_write(meanwhile(NOT_DONE[fault], lambda: way.write(theirs, wire.session)))
    )
    with pytest.raises(Conflict) as raised:
        way.write(mine, lossy.session)
    assert not raised.value.unconfirmed


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("name", WAYS)
def test_an_answer_that_was_lost_and_an_equal_value_are_no_proof(
    lossy: Any, wire: Wire, name: str, lost: str
) -> None:
    """Own write or another's: nobody knows, and the Conflict says so, in both cases."""
    way = WAYS[name]
    way.begin(wire.session)
    mine = again(way, lossy.session)
    lossy.answers.append(at_write(LOST[lost](lambda exchange: exchange.forward())))
    with pytest.raises(Conflict, match="nothing tells which") as own:
        way.write(mine, lossy.session)
    assert own.value.unconfirmed
    assert own.value.fields == frozenset()


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("name", WAYS)
def test_a_write_that_was_lost_and_anothers_that_is_equal(
    lossy: Any, wire: Wire, name: str, lost: str
) -> None:
    """The same answer as if the write had been one's own."""
    way = WAYS[name]
    way.begin(wire.session)
    mine, theirs = again(way, lossy.session), again(way, wire.session)
    lossy.answers.append(at_write(LOST[lost](lambda _: way.write(theirs, wire.session))))
    with pytest.raises(Conflict) as raised:
        way.write(mine, lossy.session)
    assert raised.value.unconfirmed


def again(way: Way, session: Session) -> Any:
    """What is there, as another program has it."""
    readers: dict[Any, Callable[[], Any]] = {
        stored_todo: lambda: Todo.get("x", session=session),
        stored_note: lambda: Record.get("x", session=session.scoped(collection="todos")),
        stored_group: lambda: Group.get("g", session=session),
        stored_template: lambda: Template.get("t", session=session),
        nothing: lambda: None,
    }
    return readers[way.begin]()


def test_refused_before_the_connection_was_made_is_not_lost() -> None:
    """A port that refuses took no request."""
    with (
        Session("http://127.0.0.1:1/v1", bucket="b", retry=None),
        pytest.raises(ConnectFailed) as raised,
    ):
        Todo(id="x").save()
    assert raised.value.lost is False


@pytest.mark.parametrize("fault", [answer_lost, answer_halved, done_then(gateway(504))])
def test_a_creation_under_a_random_id_knows_its_own_write(lossy: Any, fault: Answer) -> None:
    """Nobody else can have written under an id that was made for this object."""
    todo = Todo(title="x", tags=["a"])
    lossy.answers.append(fault)
    todo.save()
    assert lossy.methods == ["PUT", "PUT"]
    assert (todo.is_new, todo.diff()) == (False, {})
    assert Todo.find().all() == [todo]
    todo.title = "y"
    todo.save()
    assert Todo.get(todo.id).title == "y"


COPIES: dict[str, Callable[[Todo], Todo]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "model_copy": Todo.model_copy,
    "pickle": lambda todo: pickle.loads(pickle.dumps(todo)),
    "the id given": lambda todo: Todo(id=todo.id, title=todo.title),
}


@pytest.mark.parametrize(
    ("made", "second"),
    # Nothing tells the original that its id was given to another object by hand.
    [(made, second) for made in COPIES for second in ("copy", "original")][:-1],
)
def test_an_id_that_others_know_is_no_proof(lossy: Any, wire: Wire, made: str, second: str) -> None:
    """Two copies of one new object are two writers."""
    todo = Todo(title="x")
    copied = COPIES[made](todo)
    first, late = (copied, todo) if second == "original" else (todo, copied)
    lossy.answers.append(_then_hang_up(lambda _: first.save(session=wire.session)))
    with pytest.raises(Conflict) as raised:
        late.save()
    assert raised.value.unconfirmed


def test_a_creation_that_is_called_again_knows_its_own_write(lossy: Any, wire: Wire) -> None:
    """Without retries the program may call save() again."""
    with Session(lossy.url, auth="alice:s3cret", bucket=wire.session.bucket, retry=None):
        todo = Todo(title="x")
        for fault in (answer_lost, done_then(gateway(502)), done_then(says(500, b"oops"))):
            todo = Todo(title="x")
            lossy.answers.append(fault)
            with pytest.raises((ConnectFailed, ServerError)):
                todo.save()
            assert todo.is_new
            todo.save()
            assert Todo.get(todo.id) == todo


def test_a_bulk_creation_that_is_called_again_knows_its_own_writes(lossy: Any, wire: Wire) -> None:
    """What a lost batch left open is remembered by each of its objects."""
    with Session(lossy.url, auth="alice:s3cret", bucket=wire.session.bucket, retry=None) as session:
        session.server_info()
        todos = [Todo(title=str(number)) for number in range(3)]
        lossy.answers.append(answer_lost)
        assert len(session.save_all(todos).failed) == 3
        assert session.save_all(todos).created == 3
        assert Todo.find().count() == 3


def test_a_change_that_is_called_again_is_unconfirmed(lossy: Any, wire: Wire) -> None:
    """The object remembers that an answer was lost; merge() goes on from there."""
    with Session(lossy.url, auth="alice:s3cret", bucket=wire.session.bucket, retry=None):
        todo = Todo(id="x", title="old").save()
        lossy.answers.append(answer_lost)
        todo.title = "new"
        with pytest.raises(ConnectFailed) as lost:
            todo.save()
        assert lost.value.lost
        with pytest.raises(Conflict) as raised:
            todo.save()
        assert raised.value.unconfirmed
        merged = raised.value.merge()
        assert (merged is todo, merged.diff(), merged.title) == (True, {}, "new")
        todo.title = "newer"
        todo.save()
        assert Todo.get("x").title == "newer"


def test_a_lost_answer_and_another_writer_on_top(lossy: Any, wire: Wire) -> None:
    """What is there is not what was sent, but may have come after it: it did, here."""
    todo = Todo(id="x", title="old").save()

    def overtaken(exchange: Any) -> None:
        exchange.forward()
        theirs = Todo.get("x", session=wire.session)
        theirs.tags = ["theirs"]
        theirs.save()

    lossy.answers.append(_then_hang_up(overtaken))
    todo.title = "mine"
    with pytest.raises(Conflict) as raised:
        todo.save()
    assert raised.value.unconfirmed
    assert raised.value.remote.tags == ["theirs"]
    assert raised.value.remote.title == "mine"


def test_a_count_is_not_made_twice(lossy: Any, wire: Wire) -> None:
    """Its answer is lost, and another one counts on top: running again would count twice."""

    class Counter(Record, collection="todos"):
        n: int = 0

    Counter(id="x").save()

    def overtaken(exchange: Any) -> None:
        exchange.forward()
        theirs = Counter.get("x", session=wire.session)
        theirs.n += 1
        theirs.save()

    @retry_on_conflict(times=5)
    def count() -> None:
        counter = Counter.get("x")
        counter.n += 1
        lossy.answers.append(_then_hang_up(overtaken))
        counter.save()

    with pytest.raises(Conflict) as raised:
        count()
    assert raised.value.unconfirmed
    assert Counter.get("x").n == 2


def test_a_small_counter_ends_exact(lossy: Any, wire: Wire) -> None:
    """Refused once, beaten meanwhile: the loser runs again, and both are counted."""

    class Counter(Record, collection="todos"):
        value: int = 0

    Counter(id="c").save()

    @retry_on_conflict(times=5)
    def increment(session: Session) -> None:
        counter = Counter.get("c", session=session)
        counter.value += 1
        counter.save(session=session)

    lossy.answers.append(at_write(meanwhile(NOT_DONE["503"], lambda: increment(wire.session))))
    increment(lossy.session)
    assert Counter.get("c").value == 2


@pytest.mark.parametrize(("unconfirmed", "ends_at"), [("raise", 1), ("again", 2)])
def test_what_runs_again_after_a_lost_answer(lossy: Any, unconfirmed: Any, ends_at: int) -> None:
    """By default an unconfirmed Conflict is raised: running again would count twice."""

    class Counter(Record, collection="todos"):
        value: int = 0

    Counter(id="c").save()

    @retry_on_conflict(times=3, unconfirmed=unconfirmed)
    def increment() -> None:
        counter = Counter.get("c")
        counter.value += 1
        counter.save()

    lossy.answers.append(at_write(answer_lost))
    if unconfirmed == "raise":
        with pytest.raises(Conflict, match="nothing tells which"):
            increment()
    else:
        increment()
    assert Counter.get("c").value == ends_at


def test_unconfirmed_takes_two_words() -> None:
    """A misspelt one is refused when the function is decorated."""
    with pytest.raises(ValueError, match="unconfirmed"):
        retry_on_conflict(unconfirmed="never")  # type: ignore[arg-type]


# Deleting, and getting or creating


def test_a_delete_of_what_may_be_missing_is_content(lossy: Any) -> None:
    """Who deleted it does not matter then."""
    todo = Todo(id="x").save()
    lossy.answers.append(answer_lost)
    assert todo.delete(missing_ok=True).id == "x"


def test_a_conflict_over_what_is_gone_says_what_to_do(lossy: Any, wire: Wire) -> None:
    """Nothing can be merged from a remote object that is not there."""
    todo = Todo(id="x", title="mine").save()
    Todo.get("x", session=wire.session).delete()
    todo.title = "new"
    with pytest.raises(Conflict) as raised:
        todo.save()
    with pytest.raises(Conflict, match=r'merge\(prefer="local"\)'):
        raised.value.merge(prefer="remote")
    assert raised.value.merge(prefer="local").save().title == "new"


@pytest.mark.parametrize("fault", NOT_DONE)
def test_get_or_create_has_one_creator(lossy: Any, wire: Wire, fault: str) -> None:
    """The one who was refused and then beaten did not create it."""
    lossy.answers.append(
        at_write(meanwhile(NOT_DONE[fault], lambda: Todo(id="x").save(session=wire.session)))
    )
    assert Todo.get_or_create("x")[1] is False


def test_get_or_create_does_not_guess_who_created(lossy: Any) -> None:
    """After a lost answer it cannot say whether it did."""
    lossy.answers.append(at_write(answer_lost))
    with pytest.raises(Conflict) as raised:
        Todo.get_or_create("x")
    assert raised.value.unconfirmed


def test_no_template_is_taken_for_anothers(lossy: Any, wire: Wire) -> None:
    """The same for templates, whose ids follow from their names."""
    Template(name="makes the collection", source="x").save(session=wire.session)
    lossy.answers.append(at_write(answer_lost))
    with pytest.raises(Conflict) as raised:
        Template.get_or_create("x", source="y")
    assert raised.value.unconfirmed


# Permissions


@pytest.mark.parametrize("fault", [*NOT_DONE.values(), answer_lost, done_then(gateway(502))])
def test_an_acknowledged_revocation_is_done(lossy: Any, wire: Wire, fault: Answer) -> None:
    """After any repeated attempt: saved, or an error and still to be saved."""
    Todo(id="x", permissions={"read": [Everyone]}).save(session=wire.session)
    todo = Todo.get("x")
    todo.title = "new"
    todo.permissions.revoke("read", Everyone)

    def other() -> None:
        save(Todo.get("x", session=wire.session), wire.session)

    lossy.answers.append(at_write(meanwhile(fault, other)))
    try:
        todo.save()
    except Conflict as conflict:
        conflict.merge().save()
    assert todo.permissions.is_changed is False
    assert Everyone not in Todo.get("x", session=wire.session).permissions.read


def test_a_creation_with_permissions_whose_answer_was_lost(lossy: Any) -> None:
    """They are compared, too, and known afterwards."""
    todo = Todo(title="x", permissions=Permissions(read={Everyone}))
    lossy.answers.append(answer_lost)
    todo.save()
    assert lossy.methods == ["PUT", "PUT", "GET"]
    assert todo.permissions.read == {Everyone}


def test_a_creation_whose_permissions_did_not_arrive(lossy: Any, wire: Wire) -> None:
    """Data that is there without the permissions asked for is no success."""
    todo = Todo(title="x", permissions={"read": [Everyone]})

    def without_permissions(_: Any) -> None:
        Todo(id=todo.id, title="x").save(session=wire.session)

    lossy.answers.append(_then_hang_up(without_permissions))
    with pytest.raises(Conflict) as raised:
        todo.save()
    assert raised.value.unconfirmed
    raised.value.merge().save()
    assert Todo.get(todo.id).permissions.read == {Everyone}
