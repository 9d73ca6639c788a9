"""Hooks: every way of writing calls them once for each object, before the change is computed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, ClassVar

import pytest

from both import AnySession, do, either, entered
from conftest import Wire
from feeding import (
    NOW,
    after_loss,
    asked,
    batched,
    body,
    fails,
    feed,
    is_missing,
    is_there,
    nowhere,
    object_of,
    refuses,
    requests_of,
    root,
    shows,
)
from kinto_orm import (
    Account,
    AsyncSession,
    BatchError,
    Bucket,
    ConfigurationError,
    Conflict,
    ModelError,
    NotLoaded,
    Record,
    Session,
    Template,
    Unsupported,
    col,
)
from kinto_orm.bulk.jobs import Job, Outcome
from kinto_orm.bulk.together import together
from kinto_orm.models.getting import getting_or_creating
from kinto_orm.models.patching import modifying
from kinto_orm.wire.flows import Await

session = either

# What was called, by the name of the hook and what the object was then.
_calls: list[str] = []


@pytest.fixture(autouse=True)
def calls() -> Iterator[list[str]]:
    """The hooks that were called since it was cleared, in order."""
    _calls.clear()
    yield _calls
    _calls.clear()


class Noting:
    """Notes what is called of it; and writes into what is to be saved."""

    def before_save(self: Any) -> None:
        _calls.append(f"before_save {self.id} {'new' if self.is_new else 'known'}")
        if isinstance(self, Todo):
            self.saves += bool(self.diff())

    def after_save(self: Any) -> None:
        _calls.append(f"after_save {self.id}")

    def before_delete(self: Any) -> None:
        _calls.append(f"before_delete {self.id}")

    def after_delete(self: Any) -> None:
        _calls.append(f"after_delete {self.id}")


class Todo(Noting, Record, collection="todos"):
    title: str = ""
    saves: int = 0


class Plain(Record, collection="todos"):
    """The same records without hooks."""

    title: str = ""
    saves: int = 0


class Bare(Record, collection="todos"):
    """The same records with all that they have."""


class NotedTemplate(Noting, Template, collection="templates"):
    pass


class NotedAccount(Noting, Account):
    pass


class NotedBucket(Noting, Bucket):
    pass


def saved(id: str, *, new: bool = False) -> list[str]:
    """What is called by one save."""
    return [f"before_save {id} {'new' if new else 'known'}", f"after_save {id}"]


def deleted(id: str) -> list[str]:
    """What is called by one deletion."""
    return [f"before_delete {id}", f"after_delete {id}"]


def each_of(done: Callable[..., list[str]], **options: bool) -> list[str]:
    """What is called when the same is done with a, b and c, sorted."""
    return sorted(call for id in "abc" for call in done(id, **options))


# Every way of writing, on both sessions


async def test_a_save(session: AnySession, calls: list[str]) -> None:
    """What before_save sets is sent, and an unchanged object is not saved."""
    todo = Todo(id="x", title="a")
    await do(todo.save)
    assert calls == saved("x", new=True)
    assert todo.diff() == {}
    assert (await do(Plain.get, "x")).saves == 1
    calls.clear()
    await do(todo.save)
    assert calls == ["before_save x known"]
    calls.clear()
    todo.title = "b"
    await do(todo.save)
    assert calls == saved("x")
    await do(todo.save, force=True)
    stored = await do(Plain.get, "x")
    assert (stored.title, stored.saves) == ("b", 2)
    calls.clear()
    await do(todo.save, last_modified=(todo.last_modified or 0) + 5000)
    assert calls == saved("x")


async def test_a_deletion(session: AnySession, calls: list[str]) -> None:
    """Both hooks of it, also of what is gone already and may be."""
    todo = await do(Todo(id="x").save)
    again = await do(Todo.get, "x")
    calls.clear()
    await do(todo.delete)
    assert calls == deleted("x")
    await do(again.delete, missing_ok=True)
    assert calls == deleted("x") * 2


async def test_batches_and_bulk(session: AnySession, calls: list[str]) -> None:
    """Once for each object of a batch, of save_all and delete_all, and of Query.update."""
    todos = [Todo(id=id) for id in "abc"]
    async with entered(session.batch()) as batch:
        batch.save(*todos)
    assert sorted(calls) == each_of(saved, new=True)
    calls.clear()
    assert (await do(Todo.find().update, title="t")).updated == 3
    assert sorted(calls) == each_of(saved)
    assert {each.saves for each in await do(Plain.find().all)} == {2}
    calls.clear()
    for todo in todos:
        await do(todo.refresh)
        todo.title = "u"
    summary = await do(session.save_all, todos, workers=2)
    assert summary.updated == 3
    assert sorted(calls) == each_of(saved)
    calls.clear()
    async with entered(session.batch()) as batch:
        batch.delete(todos[0])
    summary = await do(session.delete_all, todos[1:])
    assert summary.deleted == 2
    assert sorted(calls) == each_of(deleted)


async def test_get_or_create_and_modify(session: AnySession, calls: list[str]) -> None:
    """Only what is written."""
    await do(Todo.get_or_create, "x", {"title": "a"})
    assert calls == saved("x", new=True)
    calls.clear()
    await do(Todo.get_or_create, "x", {"title": "a"})
    assert calls == []
    await do(Todo.modify, "x", lambda todo: todo.assign(title="b"))
    assert calls == saved("x")


async def test_patch_calls_what_has_an_object(session: AnySession, calls: list[str]) -> None:
    """Before it there is none; after it there is the one that the server answered with."""
    await do(Plain(id="x", title="a").save)
    await do(Todo.patch, "x", title="b")
    assert calls == ["after_save x"]


async def test_copies(session: AnySession, calls: list[str]) -> None:
    """The hooks are called of the copy, which is a new object; its original stays as it was."""
    stored = await do(Bare(id="x", title="a", saves=3, more=1).save)
    todo = await do(Todo.get, stored.id)
    copied = await do(todo.copy_to, session, id="y")
    assert calls == saved("y", new=True)
    there = await do(Bare.get, "y")
    assert (there["saves"], there["more"], copied.saves) == (4, 1, 4)
    assert todo.saves == 3
    assert todo.diff() == copied.diff() == {}


async def test_reverting(session: AnySession, calls: list[str]) -> None:
    """What the history brings back is saved, too."""
    todo = await do(Todo(id="x", title="a").save)
    then = todo.last_modified
    todo.title = "b"
    await do(todo.save)
    calls.clear()
    await do(todo.revert, then)
    assert calls == saved("x")
    assert (await do(Plain.get, "x")).title == "a"


async def test_other_classes(session: AnySession, calls: list[str]) -> None:
    """Templates and buckets have them, too."""
    template = await do(NotedTemplate(name="t", source="x").save)
    assert calls == saved(template.id, new=True)
    await do(template.delete)
    assert calls[2:] == deleted(template.id)
    calls.clear()
    id = f"{session.bucket}-other"
    await do((await do(NotedBucket(id=id).save)).delete)
    assert calls == saved(id, new=True) + deleted(id)


def test_accounts(calls: list[str]) -> None:
    """Accounts have them, too."""
    made = shows(object_of("bob", password="$2b$hash"), status=201)
    bob = NotedAccount(id="bob", password="s3cret")
    feed(bob.__kinto_save__(nowhere()), root(25, "accounts"), made)
    assert calls == saved("bob", new=True)


async def test_permissions_are_no_save(session: AnySession, calls: list[str]) -> None:
    """They go by themselves, and the object's data is what it was."""
    todo = await do(Todo(id="x").save)
    calls.clear()
    await do(todo.permissions.grant("read", "system.Everyone").save)
    assert calls == []


# What a query deletes without seeing it


async def test_a_query_that_deletes_unseen(session: AnySession) -> None:
    """It is refused, and named what calls the hooks."""
    await do(Todo(id="x").save)
    with pytest.raises(Unsupported, match=r"Todo\.before_delete.*session\.delete_all"):
        await do(Todo.find().delete)
    assert (await do(session.delete_all, await do(Todo.find().all))).deleted == 1
    await do(Plain(id="y").save)
    assert await do(Plain.find().delete) == 1


# What a hook raises


class Refused(Exception):
    pass


class Refusing(Record, collection="todos"):
    """Refuses in the hook that it names."""

    hook: str = ""
    count: int = 0

    def _refuse(self, hook: str) -> None:
        if self.hook == hook:
            raise Refused(hook)

    def before_save(self) -> None:
        self._refuse("before_save")

    def after_save(self) -> None:
        self._refuse("after_save")

    def before_delete(self) -> None:
        self._refuse("before_delete")

    def after_delete(self) -> None:
        self._refuse("after_delete")


async def test_a_refusal_is_the_outcome_of_its_object(session: AnySession) -> None:
    """Before: nothing was sent. After: it is saved, and the error says so. The others go on."""
    objects = [Refusing(id="b", hook="before_save"), Refusing(id="a", hook="after_save")]
    objects.append(Refusing(id="c"))
    batch = session.batch()
    batch.save(*objects)
    with pytest.raises(BatchError) as caught:
        await do(batch.run)
    assert [str(each) for each in caught.value.exceptions] == ["before_save", "after_save"]
    assert [each.status for each in batch.outcomes] == ["failed", "failed", "created"]
    assert caught.value.exceptions[1].__notes__ == [
        "Refusing 'a' is saved; this was raised by its after_save()"
    ]
    assert objects[0].is_new
    assert not objects[1].is_new
    assert {each.id for each in await do(Plain.find().all)} == {"a", "c"}


async def test_a_refused_deletion(session: AnySession) -> None:
    """Before: it is there. After: it is gone, and the error says so."""
    todo = await do(Refusing(id="x", hook="before_delete").save)
    with pytest.raises(Refused):
        await do(todo.delete)
    todo.hook = "after_delete"
    with pytest.raises(Refused) as caught:
        await do((await do(todo.save)).delete)
    assert "is deleted" in caught.value.__notes__[0]
    assert await do(Refusing.get_or_none, "x") is None


def test_a_conflict_of_a_hook_is_not_that_of_the_object() -> None:
    """It is about something else: who creates or modifies does not take it for a lost race."""

    class Nested(Record, collection="todos"):
        def after_save(self) -> None:
            raise Conflict("of another object")

    made = shows(object_of("x"), status=201)
    flow = getting_or_creating(Nested, nowhere(), "x", None, {})
    error, _ = fails(flow, Conflict, is_missing(), made)
    assert "another" in str(error)
    change = modifying(Nested, nowhere(), "x", lambda each: each.__setitem__("n", 1), 5)
    later = shows(object_of("x", NOW + 1, n=1))
    error, _ = fails(change, Conflict, shows(object_of("x")), later)
    assert "another" in str(error)


# When they are called, by hand


def test_the_change_is_computed_after_before_save() -> None:
    """What it sets is in the body, once."""
    todo = Todo(id="x", title="a")
    _, steps = feed(
        todo.__kinto_save__(nowhere()), shows(object_of("x", title="a", saves=1), status=201)
    )
    assert body(steps[0]) == {"data": {"title": "a", "saves": 1}}


async def test_what_cannot_be_written_calls_nothing(session: AnySession, calls: list[str]) -> None:
    """A partial object, and a deletion of what was never seen."""
    await do(Plain(id="x", title="a").save)
    part = await do(Todo.find().only("title").one)
    with pytest.raises(NotLoaded):
        await do(part.save)
    with pytest.raises(ConfigurationError):
        await do(Todo(id="y").delete)
    assert calls == []


def test_a_409_in_a_batch_calls_nothing_twice(calls: list[str]) -> None:
    """What is sent again is the same save."""
    scope = nowhere()
    todos = [Todo(id=id, saves=0) for id in "ab"]
    jobs = [
        Job(Outcome("save", each), lambda each=each: each.__kinto_save__(scope)) for each in todos
    ]
    done = [shows(object_of(id, title="", saves=1), status=201) for id in "ab"]
    feed(
        requests_of(together(scope, jobs)),
        root(),
        batched(done[0], refuses(409, 122)),
        batched(*done),
    )
    assert [job.outcome.status for job in jobs] == ["created", "created"]
    assert sorted(calls) == sorted(saved("a", new=True) + saved("b", new=True))


def test_an_unconfirmed_conflict_calls_no_after(calls: list[str]) -> None:
    """Nobody knows whether it was saved."""
    there = after_loss(is_there(object_of("x", title="a", saves=1)))
    fails(Todo(id="x", title="a").__kinto_save__(nowhere()), Conflict, there)
    assert calls == ["before_save x new"]


# Coroutine hooks


class Slow(Record, collection="todos"):
    """Hooks that are awaited, and that use the session."""

    title: str = ""
    done: ClassVar[list[str]] = []

    async def before_save(self) -> None:
        await asyncio.sleep(0)
        self.title = self.title or (await Plain(title="made").asave()).title

    async def after_save(self) -> None:
        await asyncio.sleep(0)
        self.done.append(f"saved {self.id}")

    async def before_delete(self) -> None:
        await asyncio.sleep(0)

    async def after_delete(self) -> None:
        await asyncio.sleep(0)
        self.done.append(f"deleted {self.id}")


@pytest.fixture
async def awaited() -> AsyncIterator[AsyncSession]:
    """A session that is awaited."""
    Slow.done.clear()
    async with AsyncSession("memory://") as session:
        yield session


async def test_coroutine_hooks_are_awaited(awaited: AsyncSession) -> None:
    """By single writes, batches and bulk; what they set is sent."""
    slow = await Slow(id="x").asave()
    assert (await Plain.aget("x")).title == "made"
    async with awaited.batch() as batch:
        batch.save(Slow(id="a", title="t"), Slow(id="b"), Slow(id="c"))
        batch.delete(slow)
    assert (await Plain.aget("b")).title == "made"
    await awaited.save_all([Slow(id="d"), Slow(id="e")], workers=2)
    await Slow.amodify("d", lambda each: each.assign(title="d"))
    await (await Slow.aget("e")).acopy_to(awaited, id="f")
    await Slow.apatch("f", title="F")
    wanted = [f"saved {id}" for id in "xabcdedff"] + ["deleted x"]
    assert sorted(Slow.done) == sorted(wanted)


async def test_coroutine_hooks_do_not_split_a_batch(awaited: AsyncSession) -> None:
    """Ten objects are one request, although each waits before and after it."""
    wire = Wire()
    async with AsyncSession("memory://", auth=wire) as session:
        await Plain(title="first").asave()
        wire.session = session
        wire.clear()
        async with session.batch() as batch:
            batch.save(*(Slow(title="t") for _ in range(10)))
        assert len([each for each in wire.requests if each.path_url.endswith("/batch")]) == 1
    assert len(Slow.done) == 10


def test_coroutine_hooks_are_refused_where_nothing_awaits() -> None:
    """Before anything is sent, whichever of them it is; and nothing is left unawaited."""
    said = r"Slow\.before_save\(\) is a coroutine function, and <Session .* blocks.*Nothing was"
    with Session("memory://") as session:
        with pytest.raises(ConfigurationError, match=said):
            Slow(id="x").save()
        with pytest.raises(ConfigurationError, match=said):
            Slow(id="x").copy_to(session)
        plain = Plain(id="x").save()
        with pytest.raises(ConfigurationError, match=r"Slow\.after_save"):
            Slow.patch("x", title="y")
        with pytest.raises(ConfigurationError, match=r"Slow\.before_delete"):
            Slow.get("x").delete()
        assert plain.refresh().title == ""


def test_what_gives_something_to_await_is_refused_by_the_driver() -> None:
    """Also where nobody can know before; then, too, no coroutine is left."""

    class Sly(Record, collection="todos"):
        def before_save(self) -> Awaitable[None]:
            return Slow(title="x").before_save()

    with Session("memory://"), pytest.raises(ConfigurationError, match=r"Sly\.before_save\(\) is"):
        Sly().save()


def test_a_step_that_waits() -> None:
    """A flow yields what is to be awaited, and goes on with the save."""
    slow = Slow(id="x", title="a")
    scope = AsyncSession("http://127.0.0.1:9/v1", bucket="b")
    flow = slow.__kinto_save__(scope)
    _, steps = feed(flow, None, shows(object_of("x", title="a"), status=201), None)
    assert [type(each).__name__ for each in steps] == ["Await", "Request", "Await"]
    assert isinstance(steps[0], Await)
    assert steps[0].what == "Slow.before_save()"
    assert asked(steps) == ["PUT /buckets/b/collections/todos/records/x"]


async def test_a_cancelled_hook_sends_nothing(awaited: AsyncSession) -> None:
    """In a batch the object stays queued, and is saved by the next run."""
    stuck = asyncio.Event()

    class Stuck(Record, collection="todos"):
        title: str = ""

        async def before_save(self) -> None:
            await stuck.wait()

    batch = awaited.batch()
    batch.save(Stuck(id="x"))
    task = asyncio.create_task(batch.run())
    for _ in range(50):
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [each.status for each in batch.outcomes] == ["queued"]
    stuck.set()
    assert [each.status for each in await batch.run()] == ["created"]


# Classes


@pytest.mark.parametrize("verb", ["save", "asave", "delete", "adelete"])
@pytest.mark.parametrize("base", [Record, Bucket, Account, Template])
def test_an_overridden_verb_is_refused(verb: str, base: Any) -> None:
    """Where it is defined, also by a mixin; the hooks are named."""

    def other(self: Any, **options: Any) -> None: ...

    hook = "before_save" if "save" in verb else "before_delete"
    said = rf"Bad cannot override {verb}\(\): .*Override {hook}\(\)"
    space = {"__module__": __name__}
    with pytest.raises(ModelError, match=said):
        type(base)("Bad", (base,), {**space, verb: other})
    mixin = type("Mixin", (), {verb: other})
    with pytest.raises(ModelError, match=said):
        type(base)("Bad", (mixin, base), space)


def test_hooks_of_bases_and_mixins() -> None:
    """A subclass goes on with super(), as anywhere."""

    class Base(Record, collection="todos"):
        title: str = ""

        def before_save(self) -> None:
            self.title += "a"

    class Mixin:
        def before_save(self) -> None:
            self.title += "b"  # type: ignore[attr-defined]
            super().before_save()  # type: ignore[misc]

    class Both(Mixin, Base, collection="todos"):
        pass

    with Session("memory://"):
        assert Both().save().title == "ba"


def test_a_hook_that_is_set_later() -> None:
    """It is looked up at each save, as any method."""

    class Later(Record, collection="todos"):
        title: str = ""

    def before_save(self: Later) -> None:
        self.title = "late"

    with Session("memory://"):
        Later.before_save = before_save  # type: ignore[method-assign]
        assert Later().save().title == "late"


def test_a_hook_may_save_others() -> None:
    """It may use the session as any function, under save_all with threads, too."""

    class Logging(Record, collection="todos"):
        def after_save(self) -> None:
            Plain(id=f"log-{self.id}").save()

    with Session("memory://") as session:
        Logging(id="x").save()
        with session.batch() as batch:
            batch.save(Logging(id="y"))
        assert session.save_all([Logging(id="z")], workers=2).created == 1
        assert {each.id for each in Plain.find(col(Plain.id).like("log-*"))} == {
            "log-x",
            "log-y",
            "log-z",
        }


@pytest.mark.parametrize("ends", [SystemExit, KeyboardInterrupt])
def test_a_hook_that_ends_the_program(ends: type[BaseException]) -> None:
    """What was answered until then is counted."""

    class Ending(Record, collection="todos"):
        def after_save(self) -> None:
            if self.id == "t6":
                raise ends

    with Session("memory://", bucket=f"ending-{ends.__name__.lower()}") as session:
        session.sync_schema(Ending)
        with pytest.raises(ends) as ended:
            session.save_all(Ending(id=f"t{n}") for n in range(20))
        summary = getattr(ended.value, "summary", None)
        told = [str(summary)] if summary else ended.value.__notes__
        assert any("6 created" in each for each in told)
