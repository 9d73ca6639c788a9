"""The tests of the web service in fastapi_app.py, as a program's own: `pytest examples`.

They need no server, and nothing to be set up: the fixtures come with kinto-orm. What the server
does, and what becomes of the service when it fails, is real.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from fastapi_app import Todo, make_app

from kinto_orm import AsyncSession
from kinto_orm.testing import Factory
from kinto_orm.testing.faults import Faults, cut, gateway, meanwhile, refuse


@pytest.fixture
def client(kinto_async_session: AsyncSession) -> Iterator[TestClient]:
    """A client of the service, which is empty at the start of each test."""
    with TestClient(make_app(kinto_async_session)) as client:
        yield client


@pytest.fixture
def todo(client: TestClient, kinto_factory: Factory) -> dict[str, Any]:
    """One todo that the service has."""
    return create(client, kinto_factory(Todo))


def create(client: TestClient, todo: Todo) -> dict[str, Any]:
    answer = client.post("/todos", json=todo.model_dump(mode="json", exclude={"last_modified"}))
    assert answer.status_code == 201
    made: dict[str, Any] = answer.json()
    return made


def test_it_comes_page_by_page(client: TestClient, kinto_factory: Factory) -> None:
    todos = [create(client, each) for each in kinto_factory.many(Todo, 5, done=False)]
    create(client, kinto_factory(Todo, done=True))
    first = client.get("/todos", params={"size": 3, "done": False}).json()
    rest = client.get("/todos", params={"size": 3, "done": False, "position": first["next"]}).json()
    assert {each["id"] for each in first["todos"] + rest["todos"]} == {each["id"] for each in todos}


def test_a_busy_server_is_asked_again(client: TestClient, kinto_faults: Faults) -> None:
    kinto_faults.next(refuse(503, retry_after=0), refuse(429), to="write")
    assert client.post("/todos", json={"title": "Write the report"}).status_code == 201


def test_a_lost_answer_is_no_second_todo(client: TestClient, kinto_faults: Faults) -> None:
    kinto_faults.next(cut(done=True), to="write")
    assert client.post("/todos", json={"title": "Write the report"}).status_code == 201
    assert len(client.get("/todos").json()["todos"]) == 1


def test_a_portal_in_between_is_no_todo(
    client: TestClient, todo: dict[str, Any], kinto_faults: Faults
) -> None:
    kinto_faults.every(gateway(200))
    answer = client.get(f"/todos/{todo['id']}")
    assert (answer.status_code, answer.json()) == (502, {"detail": "try again later"})


def test_who_lost_a_race_is_told(
    client: TestClient, todo: dict[str, Any], kinto_faults: Faults
) -> None:
    theirs = meanwhile(lambda: Todo.apatch(todo["id"], title="Theirs"))
    kinto_faults.next(theirs, to="PATCH")
    seen = {"If-Match": f'"{todo["last_modified"]}"'}
    answer = client.patch(f"/todos/{todo['id']}", json={"title": "Mine"}, headers=seen)
    assert (answer.status_code, answer.json()["fields"]) == (409, ["title"])
    assert answer.json()["current"]["title"] == "Theirs"


def test_without_a_precondition_it_is_tried_again(
    client: TestClient, todo: dict[str, Any], kinto_faults: Faults
) -> None:
    kinto_faults.next(meanwhile(lambda: Todo.apatch(todo["id"], title="Theirs")), to="PATCH")
    answer = client.patch(f"/todos/{todo['id']}", json={"notes": "by hand"})
    assert (answer.json()["title"], answer.json()["notes"]) == ("Theirs", "by hand")
