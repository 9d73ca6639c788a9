"""examples/fastapi_app.py, as its own process under uvicorn: what its clients see over HTTP."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

ROOT = next(each for each in Path(__file__).parents if (each / "pyproject.toml").exists())
STARTS_WITHIN = 60.0
TIMEOUT = 30


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """The example's URL; it is stopped at the end, and ends without an error."""
    port = free_port()
    command = [sys.executable, "-W", "error::ResourceWarning", "-m", "uvicorn",
               "--app-dir", str(ROOT / "examples"), "--port", str(port),
               "--log-level", "warning", "fastapi_app:app"]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        await_start(process, f"http://127.0.0.1:{port}/docs")
        yield f"http://127.0.0.1:{port}/todos"
    finally:
        process.terminate()
        _, said = process.communicate(timeout=STARTS_WITHIN)
    assert said == ""


def await_start(process: subprocess.Popen[str], url: str) -> None:
    until = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < until:
        assert process.poll() is None, "the example has ended"
        try:
            requests.get(url, timeout=TIMEOUT)
        except requests.ConnectionError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the example did not start in time")


def create(service: str, **fields: Any) -> dict[str, Any]:
    answer = requests.post(service, json={"title": "Write the report"} | fields, timeout=TIMEOUT)
    assert answer.status_code == 201
    made: dict[str, Any] = answer.json()
    assert answer.headers["ETag"] == f'"{made["last_modified"]}"'
    return made


def patch(service: str, id: str, seen: int | None = None, **fields: Any) -> requests.Response:
    headers = {} if seen is None else {"If-Match": f'"{seen}"'}
    return requests.patch(f"{service}/{id}", json=fields, headers=headers, timeout=TIMEOUT)


def read(service: str, id: str) -> Any:
    return requests.get(f"{service}/{id}", timeout=TIMEOUT)


def test_a_todo_is_created_read_changed_and_deleted(service: str) -> None:
    """What is left out of a PATCH stays as it is."""
    made = create(service, due="2030-01-01")
    assert read(service, made["id"]).json() == made

    changed = patch(service, made["id"], done=True).json()
    assert changed == made | {"done": True, "last_modified": changed["last_modified"]}
    assert patch(service, made["id"], due=None).json()["due"] is None

    assert requests.delete(f"{service}/{made['id']}", timeout=TIMEOUT).status_code == 204
    assert read(service, made["id"]).status_code == 404


def test_pages_give_each_todo_once(service: str) -> None:
    """Each page says where the next one begins; the last one says nothing."""
    made = {create(service, done=True)["id"] for _ in range(7)}
    found, position = [], None
    while not found or position:
        asked = {"done": "true", "size": 3, "position": position}
        page = requests.get(service, params=asked, timeout=TIMEOUT).json()
        assert len(page["todos"]) <= 3
        found += [each["id"] for each in page["todos"]]
        position = page["next"]
    assert len(found) == len(set(found))
    assert made <= set(found)


@pytest.mark.parametrize("body", [{}, {"title": 1}, {"title": "x", "titel": "y"}])
def test_wrong_data_is_refused(service: str, body: dict[str, Any]) -> None:
    """422, as FastAPI answers to what does not fit."""
    assert requests.post(service, json=body, timeout=TIMEOUT).status_code == 422


def test_what_a_server_refuses_is_answered_by_its_status(service: str) -> None:
    """An id that is taken is a conflict, one that cannot be is wrong data; so is a position."""
    made = create(service)
    again = requests.post(service, json={"id": made["id"], "title": "x"}, timeout=TIMEOUT)
    assert again.status_code == 409
    assert again.json()["current"] == made
    assert read(service, "no id").status_code == 422
    assert requests.get(service, {"position": "here"}, timeout=TIMEOUT).status_code == 422
    assert patch(service, "nobody", done=True).status_code == 404


def test_a_precondition_is_kept(service: str) -> None:
    """The second who has seen the same is told what was changed, and what is there now."""
    made = create(service)
    first = patch(service, made["id"], made["last_modified"], title="Mine").json()
    second = patch(service, made["id"], made["last_modified"], title="Yours", done=False)
    assert second.status_code == 409
    assert second.json()["fields"] == ["title"]
    assert second.json()["current"] == first

    headers = {"If-Match": f'"{made["last_modified"]}"'}
    at = f"{service}/{made['id']}"
    assert requests.delete(at, headers=headers, timeout=TIMEOUT).status_code == 409
    assert requests.delete(at, headers={"If-Match": "*"}, timeout=TIMEOUT).status_code == 400


def test_patches_at_the_same_time_lose_nothing(service: str) -> None:
    """Each changes a field of its own, and all of them are there at the end."""
    fields = {"title": "All of it", "done": True, "due": "2030-01-01", "notes": "here"}
    with ThreadPoolExecutor(len(fields)) as pool:
        for _ in range(5):
            id = create(service)["id"]
            sent = [
                pool.submit(patch, service, id, None, **{name: fields[name]}) for name in fields
            ]
            assert {each.result().status_code for each in sent} == {200}
            assert read(service, id).json().items() >= fields.items()


def test_of_patches_with_the_same_precondition_one_is_done(service: str) -> None:
    """All others are told of the conflict."""
    made = create(service)
    with ThreadPoolExecutor(8) as pool:
        sent = [
            pool.submit(patch, service, made["id"], made["last_modified"], notes=f"by {number}")
            for number in range(8)
        ]
        answers = [each.result() for each in sent]
    done = [each for each in answers if each.status_code == 200]
    assert len(done) == 1
    assert {each.status_code for each in answers} == {200, 409}
    assert read(service, made["id"]).json() == done[0].json()
