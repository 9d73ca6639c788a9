"""What errors say to call: the verb that the session of the object takes."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from both import do, either, twin
from kinto_orm import KintoError, Record, Session

session = either

VERBS = re.compile(r"\b(a?(?:save|delete|refresh|revert|restore|copy_to|get))\(")


class Todo(Record, collection="todos"):
    title: str = ""
    done: bool = False


async def listed() -> Todo:
    await do(Todo(title="x").save)
    return (await do(Todo.find().all))[0]  # type: ignore[no-any-return]


async def read_what_was_not_loaded() -> None:
    await listed()
    (part,) = await do(Todo.find().only(Todo.title).all)
    print(part.done)


async def save_a_part() -> None:
    await listed()
    (part,) = await do(Todo.find().only(Todo.title).all)
    await do(part.save)


async def read_permissions_of_a_list() -> None:
    print((await listed()).permissions.read)


async def save_what_was_deleted() -> None:
    todo = await listed()
    await do(todo.delete)
    await do(todo.save)


async def delete_what_is_new() -> None:
    await do(Todo().delete)


async def change_the_id() -> None:
    (await listed()).id = "other"


async def change_the_timestamp() -> None:
    (await listed()).last_modified = 5


async def restore_what_is_there() -> None:
    await do(Todo.restore, (await listed()).id)


ACTS: list[Callable[[], Awaitable[None]]] = [
    read_what_was_not_loaded,
    save_a_part,
    read_permissions_of_a_list,
    save_what_was_deleted,
    delete_what_is_new,
    change_the_id,
    change_the_timestamp,
    restore_what_is_there,
]


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("act", ACTS)
async def test_errors_name_the_verb_of_the_session(act: Any) -> None:
    """Awaited verbs where the session is awaited; following the advice is no second error."""
    with pytest.raises(KintoError) as raised:
        await act()
    named = VERBS.findall(str(raised.value))
    assert named
    awaited = twin(Todo().save).__name__ == "asave"
    assert {each for each in named if hasattr(Todo, each)} == set(named)
    assert all((each[0] == "a") is awaited for each in named), str(raised.value)


def test_without_a_session_the_blocking_verb_is_named() -> None:
    """What was opened nowhere says what most programs write."""
    with pytest.raises(KintoError, match=r"to save\(last_modified=\.\.\.\)"):
        Todo().last_modified = 5
    with Session("memory://"):
        todo = Todo().save()
    with pytest.raises(KintoError, match=r" copy_to\(session, id=\.\.\.\)"):
        todo.id = "other"
