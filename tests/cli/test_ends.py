"""How the program ends where it cannot begin, or cannot write."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kinto_orm import Bucket, Session
from kinto_orm.server import open_memory, serve
from program import Run, as_process, filled, in_process

FULL = Path("/dev/full")


def test_ctrl_c_while_it_is_starting(tmp_path: Path) -> None:
    """A line, and 130: also while modules are imported."""
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt")
    path = f"{tmp_path}:{':'.join(sys.path)}"
    ran = as_process("ls", "/", PYTHONPATH=path)
    assert (ran.status, ran.err) == (130, "kinto-orm: interrupted\n")


@pytest.mark.skipif(not FULL.exists(), reason="there is no device that is full")
@pytest.mark.parametrize("arguments", [["--help"], ["ls", "/"]])
def test_no_room(tmp_path: Path, arguments: list[str]) -> None:
    check(tmp_path, arguments, f">{FULL}")


def test_a_closed_output(tmp_path: Path) -> None:
    """What was asked for was not written: that is no success."""
    check(tmp_path, ["get", "/buckets/b"], ">&-")


def check(tmp_path: Path, arguments: list[str], to: str) -> None:
    server = f"sqlite:///{tmp_path}/k.db"
    with Session(server) as session:
        Bucket(id="b").save(session=session)
    command = [sys.executable, "-m", "kinto_orm.cli", "--server", server, *arguments]
    ran = subprocess.run(
        f"{shlex.join(command)} {to}", shell=True, capture_output=True, check=False, text=True
    )
    assert (ran.returncode, len(ran.stderr.splitlines())) == (1, 1), ran.stderr
    assert ran.stderr.startswith("kinto-orm: ")


def test_what_cannot_be_meant(program_session: Session, program: Run) -> None:
    """An id that cannot be, a token that is none, a time to come."""
    filled(program_session, {"id": "a"})
    for command in (
        ("get", "todos/a b"),
        ("put", "todos/a b", "{}"),
        ("rm", "todos/a b"),
        ("history", f"/buckets/{program_session.bucket}/collections/a b"),
        ("watch", "todos", "--since", "xx"),
        ("restore", "todos/a", "2999-01-01"),
    ):
        assert program(*command).status == 2, command


READING = [
    ["ls", "/"],
    ["get", "c/a"],
    ["find", "c"],
    ["dump"],
    ["history", "c"],
    ["diff", "c", "yesterday"],
    ["info"],
    ["watch", "c"],
    ["models", "c"],
    ["doctor"],
    ["kv", "get", "a"],
    ["kv", "list"],
    ["template", "list"],
    ["template", "get", "a"],
    ["template", "render", "a"],
    ["perms", "c"],
]


CHANGING = [
    ["rm", "c/a", "--yes"],
    ["patch", "c/a", "{}"],
    ["perms", "c", "--grant", "read=everyone"],
    ["kv", "del", "a", "--missing-ok"],
    ["template", "del", "a"],
    ["restore", "c", "1 hour ago"],
    ["cp", "c", "d"],
    ["mv", "/buckets/a", "memory://"],
    ["login", "--name", "x"],
    ["browse"],
]


@pytest.mark.parametrize("scheme", ["sqlite", "local"])
@pytest.mark.parametrize("command", READING + CHANGING, ids=" ".join)
def test_only_what_writes_makes_a_file(
    tmp_path: Path, no_profile: None, command: list[str], scheme: str
) -> None:
    """What reads, or changes what is there, has got a wrong name."""
    ran = in_process(*command, "--server", f"{scheme}:///{tmp_path}/typo")
    assert (ran.status, "there is no" in ran.err) == (2, True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("scheme", ["sqlite", "local"])
def test_a_plan_makes_no_file(tmp_path: Path, no_profile: None, scheme: str) -> None:
    """What would be done with a new file is said, as it is."""
    wanted = '{"format": "kinto-orm dump", "version": 1, "buckets": ["b"]}\n'
    wanted += '{"uri": "/buckets/b", "data": {}}\n{"complete": true, "objects": 1}\n'
    server = f"{scheme}://{'/' if scheme == 'sqlite' else ''}{tmp_path}/new"
    ran = in_process("load", "-", "--dry-run", "--server", server, input=wanted)
    assert (ran.status, ran.out) == (0, "+ /buckets/b\n")
    assert f"there is no {tmp_path}/new: it would be made" in ran.err
    assert not list(tmp_path.iterdir())


WRITING = [
    ["put", "/buckets/a", "{}"],
    ["kv", "set", "a", "1"],
    ["template", "set", "a", "-"],
    ["cp", "memory://here/buckets/a", "/buckets/a"],
    ["load", "-"],
]


@pytest.mark.parametrize("command", WRITING, ids=" ".join)
def test_what_writes_makes_a_file_and_says_so(
    tmp_path: Path, no_profile: None, command: list[str]
) -> None:
    server = f"sqlite:///{tmp_path}/new.db"
    with Session("memory://here") as session:
        Bucket(id="a").save(session=session)
        dump = in_process("dump", "/buckets/a", "--server", "memory://here").out
        ran = in_process(*command, "--server", server, input=dump)
        assert ran.status == 0
        assert f"made {tmp_path}/new.db, which was not there" in ran.err
        again = in_process(*command, "--server", server, input=dump)
    assert "which was not there" not in again.err


def test_messages_are_in_the_words_of_the_command_line(
    program_session: Session, program: Run
) -> None:
    """What is missing is made by a command, and no Python is told to a shell's user."""
    for command in (("ls", "no"), ("find", "no"), ("get", "no/a"), ("put", "no/a", "{}")):
        ran = program(*command)
        assert ran.status == 1
        wanted = f"kinto-orm put /buckets/{program_session.bucket}/collections/no '{{}}'"
        assert wanted in ran.err
        assert not re.search(r"sync_schema|Collection\(|\.find\(", ran.err), ran.err


@pytest.fixture
def lonely() -> Iterator[str]:
    """The URL of a Kinto in which nobody let everybody in."""
    with open_memory() as server, serve(server) as listening:
        yield listening.url


def test_credentials_of_the_environment(
    lonely: str, no_profile: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are of one server; at another one it is said that they are not used."""
    monkeypatch.setenv("KINTO_ORM_SERVER", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("KINTO_ORM_AUTH", "ada:s3cret")
    for command, status in ((("ls", "/"), 1), (("info",), 0)):
        ran = in_process(*command, "--server", lonely)
        assert ran.status == status
        assert "KINTO_ORM_AUTH is for the server of KINTO_ORM_SERVER only" in ran.err
        assert "s3cret" not in ran.err + ran.out
    ran = in_process("info", "--server", lonely, "--auth", "bob:x")
    assert "KINTO_ORM_AUTH" not in ran.err
