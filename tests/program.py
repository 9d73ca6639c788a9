"""`kinto-orm`: the program as a process, and in this one, on the three backends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kinto_orm import Bucket, Collection, Record, Session
from kinto_orm.cli.app import app
from kinto_orm.server import open_memory, serve
from kinto_orm.server.named import open_named

Run = Callable[..., "Ran"]


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str


@pytest.fixture
def no_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's own profiles and servers."""
    monkeypatch.setenv("KINTO_ORM_CONFIG", str(tmp_path / "profiles.toml"))
    for name in ("KINTO_ORM_SERVER", "KINTO_ORM_AUTH"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def program_session(backend: Any) -> Iterator[Session]:
    """A session on a bucket of its own, in which the program works."""
    with backend.session(bucket=backend.new_id()) as session:
        Bucket(id=session.bucket).save()
        yield session


def in_process(*arguments: str, input: str | None = None) -> Ran:
    """Run the program in this process: quick, for what is no matter of processes."""
    result = CliRunner().invoke(app, list(arguments), input=input)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, result.stdout, result.stderr)


def as_process(*arguments: str, input: str | None = None, **environment: str) -> Ran:
    """Run the program as users do."""
    done = subprocess.run(
        [sys.executable, "-m", "kinto_orm.cli", *arguments],
        input=input,
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def http_kinto(memory: Session) -> Iterator[str]:
    """The URL of a Kinto over HTTP, at which any user and password will do."""
    with open_named("tests") as server, serve(server) as served:
        yield served.url


@pytest.fixture
def kvp_program(no_profile: None) -> Iterator[Run]:
    """Runs a command on a server of kvp.io's protocol."""
    settings = {"kinto.includes": "kinto_orm.server.kvp", "kinto.kvp_api_keys": "123abc"}
    with open_memory(settings=settings) as server, serve(server) as http:
        where = ("--server", f"kvp+{http.url.removesuffix('/v1')}", "--auth", "123abc:")

        def program(*arguments: str, input: str | None = None) -> Ran:
            return in_process(*where, *arguments, input=input)

        yield program


@pytest.fixture
def program(backend: Any, program_session: Session, no_profile: None) -> Run:
    """Runs a command on the test's server and in its bucket."""

    def program(*arguments: str, input: str | None = None) -> Ran:
        where = ("--server", backend.url, "--bucket", program_session.bucket)
        return in_process(*where, *arguments, input=input)

    return program


def filled(session: Session, *rows: dict[str, Any], collection: str = "todos") -> Session:
    """A collection with these records; a session whose collection it is."""
    Collection(id=collection).save(session=session, existing="skip")
    scope = session.scoped(collection=collection)
    for row in rows:
        made = Record(id=row["id"])
        for name, value in row.items():
            made[name] = value
        made.save(session=scope)
    return scope
