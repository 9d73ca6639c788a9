"""A web service for todos: FastAPI in front, a Kinto behind.

Run it with `uvicorn --app-dir examples fastapi_app:app`, and look at http://127.0.0.1:8000/docs.
The Kinto is that of the variables KINTO_ORM_SERVER and KINTO_ORM_AUTH; without them one in memory.
Its tests are in test_fastapi_app.py.
"""

import os
from collections.abc import Callable
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError

from kinto_orm import (
    AsyncSession,
    Conflict,
    KintoError,
    Record,
    SessionMiddleware,
    http_status,
    retry_on_conflict,
)


class Todo(Record, collection="todos"):
    """One thing to do."""

    title: str
    done: bool = False
    due: date | None = None
    notes: str = ""


class Changes(BaseModel):
    """What a client may change; what it leaves out stays as it is."""

    title: str = ""
    done: bool = False
    due: date | None = None
    notes: str = ""


class Todos(BaseModel):
    """A page of todos, and the position to ask for the next one with."""

    todos: list[Todo]
    next: str | None


def open_session() -> AsyncSession:
    """Open the session of the service."""
    return AsyncSession(None if "KINTO_ORM_SERVER" in os.environ else "memory://")


router = APIRouter()


@router.get("/todos")
async def list_todos(
    done: bool | None = None,
    position: str | None = None,
    size: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Todos:
    """One page, from the position that the page before it gave."""
    query = Todo.find() if done is None else Todo.find(Todo.done == done)
    page = await anext(query.limit(size).resume(position).apages(), None)
    return Todos(todos=page or [], next=page and page.position)


@router.post("/todos", status_code=201)
async def create_todo(todo: Todo, response: Response) -> Todo:
    """Create one; where its id is taken, that is a conflict."""
    return tagged(await todo.asave(), response)


@router.get("/todos/{id}")
async def get_todo(id: str, response: Response) -> Todo:
    """One todo, with its timestamp as ETag."""
    return tagged(await Todo.aget(id), response)


@router.patch("/todos/{id}")
async def change_todo(
    id: str,
    changes: Changes,
    response: Response,
    if_match: Annotated[str | None, Header()] = None,
) -> Todo:
    """Change some fields: of the todo as it is, or only of the one that the client has seen."""
    given = changes.model_dump(exclude_unset=True)
    if if_match is None:
        return tagged(await change_in_turn(id, given), response)
    return tagged(await change(id, given, seen=timestamp(if_match)), response)


@router.delete("/todos/{id}", status_code=204)
async def delete_todo(id: str, if_match: Annotated[str | None, Header()] = None) -> None:
    """Delete a todo; with If-Match only if nobody changed it since."""
    todo = await Todo.aget(id)
    if if_match is not None:
        refuse_unseen(todo, {}, timestamp(if_match))
    await todo.adelete()


async def refuse(request: Request, error: Exception) -> JSONResponse:
    """Answer with the status of the error; the service's own mistakes go on to the log."""
    status = http_status(error)
    if status == 500:
        raise error
    told: dict[str, Any] = {"detail": str(error) if status < 500 else "try again later"}
    if isinstance(error, Conflict):
        told["fields"] = sorted(error.fields)
        told["current"] = error.remote and error.remote.model_dump(mode="json")
    return JSONResponse(told, status)


async def change(id: str, given: dict[str, Any], seen: int | None = None) -> Todo:
    """Read a todo, change it, and save it; a Conflict if somebody else was first."""
    todo = await Todo.aget(id)
    if seen is not None:
        refuse_unseen(todo, given, seen)
    for name, value in given.items():
        setattr(todo, name, value)
    return await todo.asave()


# Without a precondition of the client's, whoever loses the race reads and writes again.
change_in_turn = retry_on_conflict(times=20)(change)


def refuse_unseen(todo: Todo, given: dict[str, Any], seen: int) -> None:
    """Refuse to change what is not as the client has seen it."""
    if todo.last_modified != seen:
        conflict = Conflict(f"todo {todo.id!r} was changed since you read it")
        conflict.remote = todo
        conflict.fields = frozenset(each for each in given if getattr(todo, each) != given[each])
        raise conflict


def timestamp(etag: str) -> int:
    """The timestamp that an ETag of ours is made of."""
    digits = etag.strip().strip('"')
    if not digits.isdecimal():
        raise HTTPException(400, 'If-Match is an ETag as it was sent, such as "1700000000000"')
    return int(digits)


def tagged(todo: Todo, response: Response) -> Todo:
    """The todo, and its timestamp as the ETag of the answer."""
    response.headers["ETag"] = f'"{todo.last_modified}"'
    return todo


def make_app(session: AsyncSession | Callable[[], AsyncSession] = open_session) -> FastAPI:
    """Make the service; its tests give it a session of theirs."""
    made = FastAPI(title="Todos")
    made.add_middleware(SessionMiddleware, session=session)
    made.include_router(router)
    made.add_exception_handler(KintoError, refuse)
    made.add_exception_handler(ValidationError, refuse)
    return made


app = make_app()
