"""SessionMiddleware: one session for all requests, under each way to run an ASGI application."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import pytest
import requests
import uvicorn
from fastapi import BackgroundTasks, Depends, FastAPI, WebSocket
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient
from starlette.middleware.base import BaseHTTPMiddleware

from kinto_orm import (
    AsyncSession,
    ConfigurationError,
    Record,
    Session,
    SessionMiddleware,
)
from kinto_orm.server import open_memory, serve

AnySession = AsyncSession | Session
# How long the client of a test waits for a server that starts.
STARTS_WITHIN = 20.0
USER = ("alice", "secret")


class Todo(Record, collection="todos"):
    title: str


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A Kinto on a port."""
    with open_memory() as server, serve(server) as served:
        yield served.url


@pytest.fixture(params=["over HTTP", "memory"])
def opens(request: pytest.FixtureRequest, url: str) -> Callable[[], AsyncSession]:
    """Opens an AsyncSession, as its own user."""
    at = url if request.param == "over HTTP" else "memory://"
    name = request.node.name
    return lambda: AsyncSession(at, auth=(name, "secret"))


def awaiting(session: AnySession | Callable[[], AnySession], **options: Any) -> FastAPI:
    """An application whose endpoints await."""
    app = FastAPI(**options)
    app.add_middleware(SessionMiddleware, session=session)
    app.include_router(endpoints().router)
    app.mount("/mounted", endpoints())
    return app


def endpoints() -> FastAPI:
    app = FastAPI()

    @app.get("/count")
    async def count() -> int:
        return await Todo.find().acount()

    @app.post("/todos", status_code=201)
    async def create(todo: Todo) -> Todo:
        return await todo.asave()

    @app.post("/later")
    async def later(tasks: BackgroundTasks) -> None:
        tasks.add_task(Todo(title="later").asave)

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def titles() -> Any:
            async for each in Todo.find():
                yield each.title

        return StreamingResponse(titles())

    @app.websocket("/socket")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_json(await Todo.find().acount())
        await websocket.close()

    return app


def blocking(session: AnySession | Callable[[], AnySession]) -> FastAPI:
    """An application whose endpoints block, in the threads of the framework."""
    app = FastAPI()
    app.add_middleware(SessionMiddleware, session=session)

    @app.get("/count")
    def count() -> int:
        assert threading.current_thread() is not threading.main_thread()
        return Todo.find().count()

    @app.post("/later")
    def later(tasks: BackgroundTasks) -> None:
        tasks.add_task(Todo(title="later").save)

    @app.get("/stream")
    def stream() -> StreamingResponse:
        return StreamingResponse(each.title for each in Todo.find())

    return app


@contextmanager
def running(app: Any, **options: Any) -> Iterator[str]:
    """The application under uvicorn, on a free port; its URL."""
    config = uvicorn.Config(app, port=0, log_level="critical", **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until = time.monotonic() + STARTS_WITHIN
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < until
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def is_closed(session: AnySession) -> bool:
    return session.connection.closed


def test_endpoints_that_await_have_the_session(opens: Callable[[], AsyncSession]) -> None:
    """So have background tasks, streamed answers, websockets and mounted applications."""
    with TestClient(awaiting(opens)) as client:
        assert client.post("/todos", json={"title": "first"}).status_code == 201
        assert client.post("/later").status_code == 200
        assert client.get("/count").json() == 2
        assert sorted(client.get("/stream").text) == sorted("firstlater")
        assert client.get("/mounted/count").json() == 2
        with client.websocket_connect("/socket") as socket:
            assert socket.receive_json() == 2


def test_endpoints_that_block_have_the_session(url: str) -> None:
    """In the threads in which the framework runs them."""
    with TestClient(blocking(lambda: Session(url, auth=("sync", "secret")))) as client:
        assert client.post("/later").status_code == 200
        assert client.get("/count").json() == 1
        assert client.get("/stream").text == "later"


@pytest.mark.parametrize("make", [AsyncSession, Session])
@pytest.mark.parametrize("lifespan", ["on", "auto"])
def test_the_server_opens_and_closes_it(make: type[AnySession], lifespan: Any, url: str) -> None:
    """One session serves from the start of uvicorn to its end, and is closed then."""
    opened: list[AnySession] = []

    def opens() -> AnySession:
        opened.append(make(url, auth=("uvicorn", "secret")))
        return opened[-1]

    app = awaiting(opens) if make is AsyncSession else blocking(opens)
    with running(app, lifespan=lifespan) as at:
        assert len(opened) == 1
        assert requests.get(f"{at}/count", timeout=10).json() == 0
        assert requests.get(f"{at}/count", timeout=10).json() == 0
        assert [is_closed(each) for each in opened] == [False]
    assert [is_closed(each) for each in opened] == [True]


def test_without_a_lifespan_it_is_opened_by_the_first_request(url: str) -> None:
    """Nobody says when the application ends, so that it stays open."""
    session = Session(url, auth=("no lifespan", "secret"))
    with session, running(blocking(lambda: session), lifespan="off") as at:
        assert requests.get(f"{at}/count", timeout=10).json() == 0
    assert is_closed(session)


def test_an_application_may_live_again(opens: Callable[[], AsyncSession]) -> None:
    """Each test of a program starts it anew: a session is opened for each life."""
    app = awaiting(opens)
    for _ in range(2):
        with TestClient(app) as client:
            assert client.get("/count").status_code == 200


def test_a_session_that_is_given_serves_one_life(url: str) -> None:
    """It is closed with the application, which does not start again, and says why."""
    app = awaiting(AsyncSession(url, auth=USER))
    with TestClient(app) as client:
        assert client.get("/count").status_code == 200
    with pytest.raises(ConfigurationError, match="closed"), TestClient(app):
        pass


def test_a_session_that_others_use_stays_open(kinto_session: Session) -> None:
    """The fixture's session outlives the application that a test makes with it."""
    for _ in range(2):
        with TestClient(blocking(kinto_session)) as client:
            client.post("/later")
    assert Todo.find().count() == 2


async def test_a_test_that_awaits_shares_its_session(kinto_async_session: AsyncSession) -> None:
    """Without a lifespan, as httpx calls an application, the session is that of the test."""
    transport = httpx.ASGITransport(app=awaiting(kinto_async_session))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        await client.post("/todos", json={"title": "first"})
    assert await Todo.find().acount() == 1


async def test_many_requests_at_once(kinto_async_session: AsyncSession) -> None:
    """Each task has the session, and loses it at its end."""
    transport = httpx.ASGITransport(app=awaiting(kinto_async_session))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        sent = [client.post("/todos", json={"title": str(each)}) for each in range(30)]
        assert {each.status_code for each in await asyncio.gather(*sent)} == {201}
    assert await Todo.find().acount() == 30


def opens_nothing() -> AsyncSession:
    raise LookupError("no settings")


@pytest.mark.parametrize(
    ("opens", "error"),
    [(lambda: AsyncSession("kinto.example"), ConfigurationError), (opens_nothing, LookupError)],
)
def test_what_opens_no_session_ends_the_start(opens: Any, error: type[Exception]) -> None:
    """The server hears of it, and does not serve requests that all fail."""
    app = awaiting(opens)
    with pytest.raises(error, match="no s"), TestClient(app):
        pass
    with pytest.raises(SystemExit):
        uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical")).run()


async def raw(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI application that knows no lifespan."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    count = await Todo.find().acount()
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": str(count).encode()})


async def silent(scope: Any, receive: Any, send: Any) -> None:
    """One that does nothing when it is asked to start."""
    if scope["type"] == "http":
        await raw(scope, receive, send)


@pytest.mark.parametrize("app", [raw, silent])
def test_an_application_without_a_lifespan_is_served(app: Any, url: str) -> None:
    """That it knows none does not close the session under its requests."""
    wrapped = SessionMiddleware(app, session=lambda: AsyncSession("memory://"))
    with running(wrapped) as at:
        assert requests.get(at, timeout=10).text == "0"
        assert not is_closed(wrapped.session)
    asyncio.run(wrapped.session.close())


def test_the_lifespan_of_the_application_has_the_session(url: str) -> None:
    """What the program does at its start and at its end goes over it, too."""
    counted = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> Any:
        await Todo(title="start").asave()
        yield
        counted.append(await Todo.find().acount())

    with TestClient(awaiting(lambda: AsyncSession(url, auth=USER), lifespan=lifespan)) as client:
        client.post("/todos", json={"title": "first"})
    assert counted == [2]


def test_an_application_that_fails_to_start_leaves_nothing_open(url: str) -> None:
    """Its session is closed before the server ends."""
    opened = AsyncSession(url, auth=USER)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> Any:
        raise ZeroDivisionError
        yield

    app = awaiting(opened, lifespan=lifespan)
    with pytest.raises(ZeroDivisionError), TestClient(app):
        pass
    assert is_closed(opened)


def test_other_middleware_may_stand_between(url: str) -> None:
    """Starlette's runs the endpoints in another task, which is started from the request's."""

    async def passes(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    app = FastAPI()
    app.add_middleware(BaseHTTPMiddleware, dispatch=passes)
    app.add_middleware(SessionMiddleware, session=lambda: AsyncSession(url, auth=USER))
    app.include_router(endpoints().router)
    with TestClient(app) as client:
        assert client.get("/count").status_code == 200


# What docs/web.md warns of.


def test_a_session_of_a_lifespan_is_not_current_in_endpoints() -> None:
    """The requests are not started from the task of the lifespan."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> Any:
        async with AsyncSession("memory://"):
            yield

    app = FastAPI(lifespan=lifespan)
    app.include_router(endpoints().router)
    with TestClient(app) as client, pytest.raises(ConfigurationError, match="needs a session"):
        client.get("/count")


def test_a_session_of_a_blocking_dependency_is_not_current_and_new_each_time() -> None:
    """It is opened in another thread; and a memory without a name is another one each time."""

    def session() -> Iterator[Session]:
        with Session("memory://") as opened:
            yield opened

    app = FastAPI()

    @app.get("/current", dependencies=[Depends(session)])
    def current() -> int:
        return Todo.find().count()

    @app.get("/given")
    def given(session: Any = Depends(session)) -> int:  # noqa: B008
        session.save(Todo(title="lost"))
        return session.find(Todo).count()

    with TestClient(app) as client:
        assert client.get("/given").json() == 1
        assert client.get("/given").json() == 1
        with pytest.raises(ConfigurationError, match="needs a session"):
            client.get("/current")
