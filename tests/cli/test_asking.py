"""The password that is missing: asked for at a terminal, once, by each command."""

from __future__ import annotations

import getpass
import os
import pty
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

import pytest
from typer.main import get_command

from kinto_orm import Account, Bucket, Session
from kinto_orm.cli.app import app
from kinto_orm.server import open_memory, serve
from program import filled, in_process

# What a command is given; whether it can do it is no matter here.
COMMANDS = {
    "ls": "todos",
    "get": "todos/a",
    "find": "todos",
    "put": "todos/a {}",
    "patch": "todos/a {}",
    "rm": "todos/a",
    "cp": "todos other",
    "mv": "todos/a other",
    "perms": "todos",
    "watch": "nothing",
    "history": "todos",
    "diff": "todos now",
    "restore": "todos now",
    "dump": "todos",
    "load": "dump.ndjson",
    "models": "todos",
    "schema plan": "kinto_orm:Record",
    "schema apply": "kinto_orm:Record",
    "kv list": "",
    "kv get": "a",
    "kv set": "a 1",
    "kv del": "a",
    "template list": "",
    "template get": "t",
    "template set": "t t.j2",
    "template del": "t",
    "template render": "t",
    "browse": "--port PORT",  # that of the server, which is in use
    "info": "",
    "account": "",
    "doctor": "--no-writes",
}
_WITHOUT_SESSION = {"serve", "login"}


def all_commands() -> Iterator[str]:
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        yield from (f"{name} {each}" for each in getattr(command, "commands", {}))
        if not hasattr(command, "commands"):
            yield name


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A Kinto with an account."""
    with open_memory(settings={"multiauth.policies": "account"}) as kinto, serve(kinto) as served:
        with Session(served.url, auth=kinto.auth):
            Account(id="ada", password="s3cret").save()
        with Session(served.url, auth="ada:s3cret", bucket="b") as session:
            Bucket(id="b").save()
            filled(session, {"id": "a"})
        yield served.url


class Terminal:
    """Somebody at a terminal, who knows the password.

    Attributes:
        asked: The questions.
    """

    def __init__(self, file: TextIO, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        monkeypatch.setattr(sys, "stdin", file)
        monkeypatch.setattr(getpass, "getpass", self._answer)

    def _answer(self, prompt: str) -> str:
        self.asked.append(prompt)
        return "s3cret"

    def run(self, *arguments: str) -> int:
        """Run a command; its exit status."""
        try:
            app([*arguments], prog_name="kinto-orm")
        except SystemExit as end:
            return int(end.code or 0)
        return 0


@pytest.fixture
def terminal(
    no_profile: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Terminal]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dump.ndjson").write_text("")
    (tmp_path / "t.j2").write_text("x")
    parent, child = pty.openpty()
    with open(child) as file:
        yield Terminal(file, monkeypatch)
    os.close(parent)


def test_no_command_is_forgotten_here() -> None:
    assert COMMANDS.keys() | _WITHOUT_SESSION == set(all_commands())


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_asks_once(
    command: str, url: str, terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    given = COMMANDS[command].replace("PORT", str(urlsplit(url).port))
    words = (*command.split(), *given.split())
    terminal.run("--server", url, "--auth", "ada", "--bucket", "b", *words)
    assert terminal.asked == ["Password of ada: "]
    assert "s3cret" not in "".join(capsys.readouterr())


def test_who_is_the_same_on_both_ends_is_asked_once(url: str, terminal: Terminal) -> None:
    where = ("--server", url, "--bucket", "b")
    bucket = f"{url}/buckets/b/collections/copy"
    as_ada = ("--from-auth", "ada", "--to-auth", "ada")
    assert terminal.run("cp", "todos", bucket, *where, *as_ada) == 0
    assert terminal.asked == ["Password of ada: "]


def test_a_key_of_kvp_has_no_password(kvp_url: str, terminal: Terminal) -> None:
    assert terminal.run("account", "--server", kvp_url, "--auth", "123abc") == 0
    assert terminal.asked == []


@pytest.fixture
def kvp_url() -> Iterator[str]:
    settings = {"kinto.includes": "kinto_orm.server.kvp", "kinto.kvp_api_keys": "123abc"}
    with open_memory(settings=settings) as server, serve(server) as http:
        yield f"kvp+{http.url.removesuffix('/v1')}"


def test_no_terminal_is_said(url: str, no_profile: None) -> None:
    ran = in_process("ls", "--server", url, "--auth", "ada")
    assert (ran.status, ran.out) == (2, "")
    assert "give --auth user:password" in ran.err


def test_doctor_takes_a_profile(url: str, no_profile: None) -> None:
    """What a profile says is not taken for an option beside it."""
    config = Path(os.environ["KINTO_ORM_CONFIG"])
    config.write_text(f'[work]\nserver = "{url}"\nauth = "ada:s3cret"\n')
    config.chmod(0o600)
    ran = in_process("doctor", "--no-writes", "--profile", "work")
    assert (ran.status, ran.err) == (0, ""), ran.out
