"""`kinto-orm`: the program as a process, and in this one, on the three backends."""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
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


# Waits for commands, and forks a process for each: nobody waits for its imports.
_FORKING = """
import json, os, sys
import kinto_orm.cli.app
from kinto_orm.cli import main
for line in sys.stdin:
    told = json.loads(line)
    pid = os.fork()
    if not pid:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
else:
    sys.exit()
os.chdir(told["cwd"])
os.environ.clear()
os.environ.update(told["env"])
for number, (path, mode) in enumerate(zip(told["files"], (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY))):
    os.dup2(os.open(path, mode), number)
sys.stdin, sys.stdout = open(0), open(1, "w")
sys.stderr = open(2, "w", errors="backslashreplace")
sys.argv = ["kinto-orm", *told["arguments"]]
main()
"""


@functools.cache
def _forking() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _FORKING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    atexit.register(process.communicate)
    return process


def as_process(*arguments: str, input: str | None = None, **environment: str) -> Ran:
    """Run the program as users do, in a process of its own."""
    if any(each.startswith("PYTHON") for each in environment):
        return _anew(*arguments, input=input, **environment)
    with tempfile.TemporaryDirectory() as directory:
        files = [Path(directory, name) for name in ("in", "out", "err")]
        for each in files:
            each.write_text(input or "" if each.name == "in" else "")
        told = {
            "arguments": arguments,
            "cwd": str(Path.cwd()),
            "env": {**os.environ, **environment},
            "files": [str(each) for each in files],
        }
        process = _forking()
        print(json.dumps(told), file=process.stdin, flush=True)
        status = process.stdout.readline()  # type: ignore[union-attr]
        return Ran(int(status), files[1].read_text(), files[2].read_text())


def _anew(*arguments: str, input: str | None, **environment: str) -> Ran:
    """The same in a new interpreter, which reads its variables when it begins."""
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
