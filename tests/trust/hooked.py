"""Saving and deleting with hooks: what they set is sent, and what they raise is told."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from kinto_orm import KintoError, Record
from trust.many import _bulk, _outcomes, only_stored
from trust.operation import ONE, nothing, operation
from trust.world import World, seen

T1 = "collections/todos/records/t1"


class HookFailed(KintoError):
    """What a hook of these tests raises."""


class Hooked(Record, collection="todos"):
    """What is saved gets a slug first.

    Attributes:
        slug: Made of the title by the hook.
        told: The ids of what is saved and deleted, by the hooks that come after.
    """

    title: str
    slug: str | None = None

    told: ClassVar[list[str]] = []

    def before_save(self) -> Awaitable[None] | None:
        self.slug = f"the-{self.title}"
        return None

    def after_save(self) -> Awaitable[None] | None:
        self.told.append(f"saved {self.id}")
        return None

    def after_delete(self) -> Awaitable[None] | None:
        self.told.append(f"deleted {self.id}")
        return None


class Refusing(Hooked):
    """Its hooks before refuse one object."""

    def before_save(self) -> None:
        if self.id == "t3":
            raise HookFailed("before")

    def before_delete(self) -> None:
        self.before_save()


class Complaining(Hooked):
    """Its hooks after raise, when all is done.

    Attributes:
        loud: Whether they do: not where a conflict is merged afterwards.
    """

    loud: ClassVar[bool] = False

    def after_save(self) -> None:
        super().after_save()
        self._complain()

    def after_delete(self) -> None:
        super().after_delete()
        self._complain()

    def _complain(self) -> None:
        if self.loud:
            raise HookFailed("after")


@contextmanager
def _loud() -> Iterator[None]:
    Complaining.loud = True
    try:
        yield
    finally:
        Complaining.loud = False


class Awaited(Hooked):
    """Its hook is a coroutine where there is a loop."""

    async def before_save(self) -> None:
        super().before_save()


# Prepared worlds


async def _one(world: World, model: type[Hooked] = Hooked) -> Hooked:
    world.put(ONE, {"title": "one"})
    model.told.clear()
    return await world.do(model).get("one", session=world.session)  # type: ignore[no-any-return]


async def _complaining(world: World) -> Hooked:
    return await _one(world, Complaining)


def _new(world: World) -> Hooked:
    Hooked.told.clear()
    return Hooked(id="one", title="one")


async def _some(world: World, model: type[Hooked] = Hooked) -> list[Any]:
    only_stored(world)
    model.told.clear()
    found = await world.do(model.find(session=world.session)).all()
    return sorted(found, key=lambda each: each.id)


async def _some_refusing(world: World) -> list[Any]:
    return await _some(world, Refusing)


async def _some_complaining(world: World) -> list[Any]:
    return await _some(world, Complaining)


async def _some_changed(world: World) -> list[Any]:
    found = await _some(world, Refusing)
    for each in found:
        each.title = "new"
    return found


def _told(world: World, objects: Any) -> Any:
    return [seen(objects), sorted(Hooked.told)]


def _without_hooks(error: Exception) -> Exception | None:
    """What is left of an error without what the hooks raised."""
    if isinstance(error, HookFailed):
        return None
    if isinstance(error, ExceptionGroup):
        return error.split(HookFailed)[1]
    return error


# One object


@operation(ONE, prepare=_new)
async def hook_save_new(world: World, record: Hooked) -> Any:
    await world.do(record).save(session=world.session)
    return _told(world, record)


@operation(ONE, prepare=_one)
async def hook_save(world: World, record: Hooked) -> Any:
    await world.do(record).save()
    return _told(world, record)


@operation(ONE, prepare=_complaining)
async def hook_after_save_raises(world: World, record: Hooked) -> Any:
    try:
        with _loud():
            await world.do(record).save()
    except HookFailed:
        return _told(world, record)


@operation(ONE, prepare=_complaining)
async def hook_after_delete_raises(world: World, record: Hooked) -> Any:
    try:
        with _loud():
            await world.do(record).delete()
    except HookFailed:
        return _told(world, record)


async def _awaited(world: World) -> Hooked:
    return await _one(world, Awaited if world.face.name == "AsyncSession" else Hooked)


@operation(ONE, prepare=_awaited)
async def hook_save_awaited(world: World, record: Hooked) -> Any:
    record.title = "changed"
    await world.do(record).save()
    return _told(world, record)


# Hooks are called by what makes objects, too.
@operation(ONE, claims=lambda result: bool(result[1]), skips=1)
async def hook_get_or_create(world: World, _: None) -> Any:
    found, created = await world.do(Hooked).get_or_create("one", session=world.session, title="x")
    return [seen(found), created]


@operation(ONE, prepare=lambda world: world.put(ONE, {"title": "one"}), claims=nothing, skips=1)
async def hook_modify(world: World, _: None) -> Any:
    return seen(
        await world.do(Hooked).modify(
            "one", lambda each: each.assign(title="new"), session=world.session
        )
    )


# Several objects


async def _in_batch(world: World, objects: list[Any], act: str) -> Any:
    """Do it with all of them; what hooks raise is what is told of their objects."""
    batch = world.session.batch()
    try:
        with _loud():
            async with world.do(batch):
                getattr(batch, act)(*objects)
    except ExceptionGroup as error:
        rest = _without_hooks(error)
        if rest is not None:
            raise rest from None
    finally:
        _outcomes(world, batch)
    raised = [type(each.error).__name__ if each.error else "" for each in batch.outcomes]
    return [*_told(world, objects), raised]


@operation(T1, prepare=_some, skips=1)
async def hook_batch_save(world: World, objects: list[Any]) -> Any:
    return await _in_batch(world, objects, "save")


@operation(T1, prepare=_some_changed, keeps=True, skips=1)
async def hook_batch_save_refused(world: World, objects: list[Any]) -> Any:
    return await _in_batch(world, objects, "save")


@operation(T1, prepare=_some_complaining, skips=1)
async def hook_batch_after_save_raises(world: World, objects: list[Any]) -> Any:
    return await _in_batch(world, objects, "save")


@operation(T1, prepare=_some_refusing, skips=1)
async def hook_batch_delete_refused(world: World, objects: list[Any]) -> Any:
    return await _in_batch(world, objects, "delete")


def _summed(world: World, objects: list[Any], summary: Any) -> Any:
    """The summary, with what the hooks raised apart."""
    own = [each for each in summary.failed if isinstance(each.error, HookFailed)]
    summary.failed[:] = [each for each in summary.failed if each not in own]
    refused = {each.target.id for each in own}
    others = [each for each in objects if each.id not in refused]
    return [_bulk(world, others, summary), sorted(refused), sorted(Hooked.told)]


@operation(T1, prepare=_some, skips=1)
async def hook_save_all(world: World, objects: list[Any]) -> Any:
    return _summed(world, objects, await world.do(world.session).save_all(objects))


@operation(T1, prepare=_some_changed, keeps=True, skips=1)
async def hook_save_all_refused(world: World, objects: list[Any]) -> Any:
    return _summed(world, objects, await world.do(world.session).save_all(objects))


@operation(T1, prepare=_some_complaining, skips=1)
async def hook_save_all_after_raises(world: World, objects: list[Any]) -> Any:
    with _loud():
        summary = await world.do(world.session).save_all(objects)
    return _summed(world, objects, summary)


@operation(T1, prepare=_some_refusing, skips=1)
async def hook_delete_all_refused(world: World, objects: list[Any]) -> Any:
    return _summed(world, objects, await world.do(world.session).delete_all(objects))


@operation(T1, prepare=lambda world: only_stored(world) or Hooked.told.clear(), skips=2)
async def hook_query_update(world: World, _: None) -> Any:
    summary = await world.do(Hooked.find(session=world.session)).update(title="new")
    failed = {each.target.id: each.error for each in summary.failed}
    world.settle(
        (f"collections/todos/records/t{n}", failed.get(f"t{n}"))
        for n in range(5)
        if failed or summary.total == 5
    )
    return [seen(summary), sorted(Hooked.told)]
