"""A Kinto that is not embedded, with its data in a file by its settings alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kinto_orm.server.quiet import hushed

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import kinto
    import webtest
    from kinto.core.scripts import migrate

AUTH = {"Authorization": "Basic Ym9iOnMzY3JldA=="}


@pytest.fixture
def kintos(tmp_path: Path) -> Iterator[Callable[..., webtest.TestApp]]:
    """Makes Kintos on one file, with settings of their own."""
    databases = []

    def make(**settings: str) -> webtest.TestApp:
        url = f"sqlite:///{tmp_path}/app.db"
        chosen = {
            "kinto.storage_backend": "kinto_orm.server.sqlite.storage",
            "kinto.storage_url": url,
            "kinto.permission_backend": "kinto_orm.server.sqlite.permission",
            "kinto.permission_url": url,
            "kinto.cache_backend": "kinto.core.cache.memory",
            "kinto.includes": "kinto.plugins.default_bucket kinto.plugins.history",
            "kinto.userid_hmac_secret": "secret",
            "multiauth.policies": "basicauth",
            **settings,
        }
        with hushed():
            app = kinto.main({}, **chosen)
        databases.append(app.registry.storage.work.database)
        return webtest.TestApp(app, extra_environ={"SCRIPT_NAME": ""})

    yield make
    for database in databases:
        database.close()


def put(
    app: webtest.TestApp, path: str, data: dict[str, Any], **options: Any
) -> webtest.TestResponse:
    return app.put_json(f"/v1{path}", {"data": data}, headers=AUTH, **options)


@pytest.mark.parametrize("per_request", ["true", "false"])
def test_settings_are_enough(kintos: Callable[..., webtest.TestApp], per_request: str) -> None:
    """Records, permissions and history are there for the next Kinto on the file."""
    app = kintos(**{"kinto.transaction_per_request": per_request})
    migrate({"registry": app.app.registry})
    put(app, "/buckets/b", {})
    put(app, "/buckets/b/collections/c", {})
    put(app, "/buckets/b/collections/c/records/r", {"n": 5})
    app.app.registry.storage.work.database.close()
    again = kintos()
    assert again.get("/v1/buckets/b/collections/c/records/r", headers=AUTH).json["data"]["n"] == 5
    assert len(again.get("/v1/buckets/b/history", headers=AUTH).json["data"]) == 3
    again.get("/v1/buckets/b/collections/c/records/r", status=401)
    assert again.get("/v1/__heartbeat__").json["storage"] is True


def batch(*requests: dict[str, Any]) -> dict[str, Any]:
    return {"requests": [{"method": "PUT", "headers": AUTH, **each} for each in requests]}


def test_a_batch_that_fails_leaves_nothing(kintos: Callable[..., webtest.TestApp]) -> None:
    """The first request was done when the second made the whole batch fail."""
    app = kintos()
    put(app, "/buckets/b", {})
    broken = {"Response-Behavior": "light", **AUTH}  # the history plugin fails on it
    task = batch(
        {"path": "/v1/buckets/b/collections/one", "body": {"data": {}}},
        {"method": "PATCH", "path": "/v1/buckets/b", "body": {"data": {"x": 1}}, "headers": broken},
    )
    app.post_json("/v1/batch", task, headers=AUTH, status=500)
    assert app.get("/v1/buckets/b/collections", headers=AUTH).json["data"] == []
    assert len(app.get("/v1/buckets/b/history", headers=AUTH).json["data"]) == 1


def test_a_refused_request_of_a_batch_takes_nothing_with_it(
    kintos: Callable[..., webtest.TestApp],
) -> None:
    """A 412 is an answer like others: what stands before and after it is stored."""
    app = kintos()
    put(app, "/buckets/b", {})
    safe = {"If-None-Match": "*", **AUTH}
    task = batch(
        {"path": "/v1/buckets/b/collections/one", "body": {"data": {}}},
        {"path": "/v1/buckets/b/collections/one", "body": {"data": {}}, "headers": safe},
        {"path": "/v1/buckets/b/collections/two", "body": {"data": {}}},
    )
    done = app.post_json("/v1/batch", task, headers=AUTH).json["responses"]
    assert [each["status"] for each in done] == [201, 412, 201]
    listed = app.get("/v1/buckets/b/collections?_sort=id", headers=AUTH).json["data"]
    assert [each["id"] for each in listed] == ["one", "two"]


def test_a_read_that_makes_something_stores_it(kintos: Callable[..., webtest.TestApp]) -> None:
    """The default bucket is made by whatever asks for it, and an empty list gets its time."""
    app = kintos()
    first = app.get("/v1/buckets/default/collections/c/records", headers=AUTH)
    assert first.headers["ETag"] == app.get(first.request.path, headers=AUTH).headers["ETag"]
    assert app.get("/v1/buckets/default/collections", headers=AUTH).json["data"][0]["id"] == "c"
