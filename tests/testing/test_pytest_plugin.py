"""kinto_orm.testing: the fixtures that pytest offers to the tests of other programs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import Backend
from kinto_orm import Account, AsyncSession, Bucket, Group, Record, Session, testing
from kinto_orm.server import EmbeddedServer, open_local, open_sqlite
from kinto_orm.server.named import open_named


class Note(Record, collection="notes"):
    """A record of a program under test."""

    text: str


@pytest.mark.parametrize("text", ["first", "second"])
def test_each_test_starts_with_an_empty_server(kinto_session: Session, text: str) -> None:
    """What one test saves, the next one does not see."""
    assert Note.find().all() == []
    note = Note(text=text).save()
    assert Note.get(note.id) == note


def test_the_server_is_the_one_of_the_session(
    kinto_session: Session, kinto_server: EmbeddedServer
) -> None:
    """Who empties the server empties what the session sees."""
    Note(text="first").save()
    kinto_server.flush()
    assert Note.find().all() == []


@pytest.mark.parametrize("text", ["first", "second"])
async def test_each_test_that_awaits_starts_with_an_empty_server(
    kinto_async_session: AsyncSession, text: str
) -> None:
    """What one test saves, the next one does not see."""
    assert await Note.find().aall() == []
    note = await Note(text=text).asave()
    assert await Note.aget(note.id) == note


PROGRAM = """
from kinto_orm import Bucket
from kinto_orm.testing import {names}

def test_the_session_is_there(kinto_session):
    assert Bucket(id="work").save().last_modified
"""


OF_ANYIO = """
import pytest
from kinto_orm import Bucket

@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.mark.anyio
async def test_the_session_is_there(kinto_async_session):
    assert (await Bucket(id="work").asave()).last_modified
"""


def test_the_plugin_of_anyio_serves_as_well(tmp_path: Path) -> None:
    """The fixture is no coroutine, and does not mind who runs the test."""
    program = tmp_path / "test_program.py"
    program.write_text(OF_ANYIO)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:asyncio", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, str(program)], capture_output=True, text=True, check=False)
    assert "1 passed" in done.stdout, done.stdout


def test_all_can_be_imported(tmp_path: Path) -> None:
    """Where pytest loads no plugins by itself, a program takes them from their public place."""
    program = tmp_path / "test_program.py"
    program.write_text(PROGRAM.format(names=", ".join(testing.__all__)))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(program)],
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in done.stdout, done.stdout


def test_importing_them_is_light() -> None:
    """A test run that needs no server pays for none: nothing is loaded but pytest."""
    heavy = ["kinto", "pyramid", "pydantic", "requests", "kinto_orm.server", "kinto_orm.session"]
    code = f"import sys, kinto_orm.testing; print([n for n in {heavy} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


ASYNC_PROGRAM = """
import asyncio

import pytest

from kinto_orm import AsyncSession, Record, Session


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Note(Record, collection="notes"):
    text: str


@pytest.mark.parametrize("text", ["first", "second"])
async def test_each_test_starts_with_an_empty_server(kinto_async_session, text):
    assert isinstance(kinto_async_session, AsyncSession)
    assert await Note.find().aall() == []
    note = await Note(text=text).asave()
    assert await Note.aget(note.id) == note


async def test_it_is_current_in_tasks(kinto_async_session):
    async with asyncio.TaskGroup() as group:
        for text in "abc":
            group.create_task(Note(text=text).asave())
    assert await Note.find().acount() == 3


async def test_both_fixtures_see_the_same_server(kinto_session, kinto_async_session, kinto_server):
    Note(text="x").save(session=kinto_session)
    assert await kinto_async_session.find(Note).acount() == 1
    kinto_server.flush()
    assert await kinto_async_session.find(Note).acount() == 0


async def test_a_test_may_enter_it(kinto_async_session):
    async with kinto_async_session as session:
        await session.save(Note(text="x"))


def test_it_is_no_coroutine(kinto_async_session):
    assert asyncio.run(count()) == 0


async def count():
    return await Note.find().acount()


def test_nothing_is_current_without_it():
    from kinto_orm import ConfigurationError

    with pytest.raises(ConfigurationError, match="needs a session"):
        Note.find().all()
"""
SCOPE = ["-o", "asyncio_default_fixture_loop_scope=function"]
# What pytest is told, and which mark the tests have.
PLUGINS = {
    "pytest-asyncio": (["-p", "pytest_asyncio.plugin", "-o", "asyncio_mode=auto", *SCOPE], None),
    "pytest-asyncio, strict": (["-p", "pytest_asyncio.plugin", *SCOPE], "asyncio"),
    "anyio": (["-p", "anyio.pytest_plugin"], "anyio"),
}


@pytest.mark.parametrize("plugin", PLUGINS)
def test_the_awaited_session_with_each_plugin(tmp_path: Path, plugin: str) -> None:
    """Tests of both plugins take the same fixture; neither is required, and all is closed."""
    options, mark = PLUGINS[plugin]
    marked = f"@pytest.mark.{mark}\nasync def test" if mark else "async def test"
    (tmp_path / "test_program.py").write_text(ASYNC_PROGRAM.replace("async def test", marked))
    command = ["-q", "-W", "error", "-p", "no:cacheprovider", "-p", "kinto_orm.testing.plugin"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *command, *options, str(tmp_path)],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert "7 passed" in done.stdout, done.stdout + done.stderr


# Isolation


@pytest.fixture
def saved(kinto_session: Session) -> Note:
    """What a test begins with."""
    return Note(text="first").save()


async def test_both_sessions_empty_the_server_once(
    saved: Note, kinto_async_session: AsyncSession
) -> None:
    """What was saved over the first of them is there for the second."""
    assert await Note.aget(saved.id, session=kinto_async_session) == saved


@pytest.mark.parametrize("run", ["first", "second"])
def test_nothing_is_left(kinto_session: Session, run: str) -> None:
    """No bucket, group, account, permission or history; each run would meet that of the other."""
    Account(id="ann", password="s3cret").save()
    assert Bucket.find().all() == []
    bucket = Bucket(id="work", permissions={"read": ["account:ann"]}).save()
    assert [each.action for each in bucket.history()] == ["create"]
    assert bucket.permissions.read == {"account:ann"}
    Group(id="writers", bucket="work", members=["account:ann"]).save()
    with Session(kinto_session.server_url, auth="ann:s3cret") as ann:
        assert "/buckets/work/groups/writers" in ann.server_info().user["principals"]  # type: ignore[index]


def test_times_grow_when_everything_is_deleted(backend: Backend) -> None:
    """What comes later is later, though the server was ahead of the clock, as after many writes."""
    with opened(backend) as server, backend.session() as session:
        server.flush()  # nothing is left of a test that wrote years ahead
        note = Note(text="x").save()
        ahead = time.time_ns() // 1_000_000 + 900
        session.request("PUT", note.uri, json={"data": {"text": "y", "last_modified": ahead}})
        server.flush()
        assert (Note(text="later").save().last_modified or 0) > ahead


def opened(backend: Backend) -> EmbeddedServer:
    """Another way into the server of the tests."""
    place = backend.url.partition("://")[2]
    if backend.name == "memory":
        return open_named(place)
    return open_sqlite(place.removeprefix("/")) if backend.name == "sqlite" else open_local(place)
