"""Mistakes with what is awaited, the forgotten `await` before all."""

from kinto_orm import AsyncSession, Template, retry_on_conflict
from models import Address, Todo

AsyncSession("memory://", auth=3)  # refused: mypy pyright
AsyncSession("memory://", dry_run=3)  # refused: mypy pyright
AsyncSession("memory://", timeout="5")  # refused: mypy pyright


@retry_on_conflict()
async def finish(id: str) -> Todo:
    return await (await Todo.aget(id)).asave()


async def forgotten(session: AsyncSession, todo: Todo) -> None:
    todo.asave()  # refused: mypy pyright
    todo.adelete()  # refused: mypy pyright
    Todo.apatch("x", done=True)  # refused: mypy pyright
    Todo.amodify("x", repr)  # refused: mypy pyright
    todo.arefresh()  # refused: mypy pyright
    todo.permissions.asave()  # refused: mypy pyright
    Todo.find().adelete()  # refused: mypy pyright
    Todo.find().aupdate(done=True)  # refused: mypy pyright
    session.save(todo)  # refused: mypy pyright
    session.save_all([todo])  # refused: mypy pyright
    await session.save_all([todo], progress="yes")  # refused: mypy pyright
    session.sync(Todo, [todo])  # refused: mypy pyright
    Todo.arestore("x")  # refused: mypy pyright
    session.kv.revert("a", 1)  # refused: mypy pyright
    session.kv.set("a", 1)  # refused: mypy pyright
    session.batch().run()  # refused: mypy pyright
    finish("x")  # refused: mypy pyright
    print(Todo.aget("x").title)  # refused: mypy pyright
    print(Todo.find().acount() + 1)  # refused: mypy pyright
    print(session.get(Todo, "x").title)  # refused: mypy pyright
    print(Template(name="t", source="").arender().upper())  # refused: mypy pyright


async def the_other_kind(session: AsyncSession) -> None:
    with session:  # refused: mypy pyright
        pass
    with session.batch():  # refused: mypy pyright
        pass
    for _key in session.kv:  # refused: mypy pyright
        pass
    session.kv["a"]  # refused: mypy pyright
    for _page in Todo.find().apages():  # refused: mypy pyright
        pass
    async for _page in Todo.find().pages():  # refused: mypy pyright
        pass
    async for _todo in Todo.find().aall():  # refused: mypy pyright
        pass


async def wrong(session: AsyncSession, todo: Todo) -> None:
    await Todo.aget(3)  # refused: mypy pyright
    print((await Todo.aget_or_none("x")).title)  # refused: mypy pyright
    print((await Todo.find().afirst()).title)  # refused: mypy pyright
    await todo.asave(froce=True)  # refused: mypy pyright
    await todo.asve()  # refused: mypy pyright
    await session.get(Address, "x")  # refused: mypy pyright
    await session.save([todo])  # refused: mypy pyright
    await session.kv.set("a", object())  # refused: mypy pyright
    await finish(3)  # refused: mypy pyright
    async for found in Todo.find():
        print(found.titel)  # refused: mypy pyright
