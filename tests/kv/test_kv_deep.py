"""A key whose value another client nested too deeply: it is read, and hides no other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from deep import put_value
from kinto_orm import Bucket, Collection, InvalidData, Session
from kinto_orm.kv.values import KeyValues
from kinto_orm.server import open_memory, serve

# Kinto takes so many.
MOST = 450


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with (
        open_memory() as server,
        serve(server) as http,
        Session(http.url, auth=("tom", "s3cret-p4ss"), bucket="deep") as session,
    ):
        Bucket(id="deep").save()
        Collection(id="kv").save()
        session.kv["well"] = {"a": 1}
        yield session


@pytest.fixture(params=[300, MOST])
def levels(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


@pytest.fixture(params=["[", '{"a":'])
def text(request: pytest.FixtureRequest, levels: int) -> str:
    """The JSON of an object in which one member is nested deeply."""
    closed = "]" if request.param == "[" else "}"
    inner = (levels - 1) * request.param + "1" + (levels - 1) * closed
    return f'{{"deep": {inner}}}'


@pytest.fixture
def kv(session: Session, text: str) -> KeyValues:
    put_value(session, "deep", text)
    return session.kv


def same(value: Any, text: str) -> bool:
    return json.dumps(value) == json.dumps(json.loads(text))


def test_it_is_read(kv: KeyValues, text: str) -> None:
    """Alone and with others, whole and in part."""
    assert same(kv["deep"], text)
    assert same(kv.get_many(["deep", "well"])["deep"], text)
    assert list(kv) == ["deep", "well"]
    assert kv["well"] == {"a": 1}
    assert same(dict(kv.items())["deep"], text)
    step = "a" if '"a"' in text else "0"
    assert kv["/".join(["deep", "deep", *[step] * 90])] is not None


def test_it_is_changed(kv: KeyValues, text: str) -> None:
    """Beside what is nested too deeply, and in it."""
    kv["deep/other"] = 7
    assert kv.pop("deep/other") == 7
    assert kv.setdefault("deep/more/still", 8) == 8
    kv.delete("deep/more")
    assert same(kv["deep"], text)
    step = "a" if '"a"' in text else "0"
    kv["/".join(["deep", "deep", *[step] * 90])] = "short"
    kv["deep"] = 1
    kv.delete("deep")
    assert "deep" not in kv


def test_its_past(kv: KeyValues, text: str) -> None:
    """It is read; to write it anew is refused, and nothing is lost."""
    then = next(iter(kv.history("deep")))
    kv["deep/other"] = 7
    assert same(kv.at(then.last_modified)["deep"], text)
    assert next(iter(kv.history("deep/other"))).value == 7
    with pytest.raises(InvalidData, match="nested deeper than 200"):
        kv.revert("deep", then.last_modified)
    with pytest.raises(InvalidData, match="nested deeper than 200"):
        kv["copy"] = kv["deep"]
    assert kv.pop("deep/other") == 7
    assert same(kv["deep"], text)
