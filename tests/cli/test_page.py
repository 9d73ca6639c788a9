"""The pages on the command line, and what holds for all commands."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from kinto_orm import Bucket, Group, Session
from kinto_orm.cli.app import app
from program import as_process, filled, in_process

DOCS = Path(__file__).parents[2] / "docs"


def page_runner() -> Any:
    found = importlib.util.spec_from_file_location("run_commands", DOCS / "run_commands.py")
    assert found
    assert found.loader
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


RUNNER = page_runner()


@pytest.mark.parametrize("page", RUNNER.PAGES, ids=lambda page: page.stem)
def test_a_page_shows_what_the_commands_print(page: Path) -> None:
    """Each command of a page prints what stands below it; else run docs/run_commands.py."""
    text = page.read_text()
    assert RUNNER.rewritten(text) == text


def commands(command: Any, *above: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All commands with the words that name them."""
    for name, each in getattr(command, "commands", {}).items():
        yield (*above, name), each
        yield from commands(each, *above, name)


COMMANDS = dict(commands(get_command(app)))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_each_command_is_explained(words: tuple[str, ...]) -> None:
    """What it does in a sentence, each option in words."""
    command = COMMANDS[words]
    assert re.match(r"[A-Z].*[.]", command.help or "", re.DOTALL)
    ran = in_process(*words, "--help")
    assert ran.status == 0
    options = [each for each in command.params if each.param_type_name == "option"]
    assert all(each.help for each in options if each.name != "help")
    if not hasattr(command, "commands"):
        assert "Examples:" in ran.out


def test_each_command_is_on_the_page() -> None:
    text = (DOCS / "command-line.md").read_text()
    for words, command in COMMANDS.items():
        if not hasattr(command, "commands"):
            assert f"kinto-orm {' '.join(words)}" in text


def asked(words: str) -> dict[str, str]:
    """How bash asks what may come after these words."""
    return {
        "_KINTO_ORM_COMPLETE": "complete_bash",
        "COMP_WORDS": f"kinto-orm {words}",
        "COMP_CWORD": str(len(words.split(" "))),
    }


def test_the_shell_completes() -> None:
    ran = as_process(**asked("ser"))
    assert (ran.status, ran.out.strip(), ran.err) == (0, "serve", "")


@pytest.fixture
def work(http_kinto: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A server that is the profile `work`."""
    config = tmp_path / "profiles.toml"
    config.write_text(f'[work]\nserver = "{http_kinto}"\nauth = "tab:tab"\nbucket = "tabs"\n')
    config.chmod(0o600)
    monkeypatch.setenv("KINTO_ORM_CONFIG", str(config))
    return http_kinto


def offered(words: str) -> set[str]:
    """What may come, by the program in this process."""
    ran = CliRunner().invoke(app, [], prog_name="kinto-orm", env=asked(words))
    assert (ran.exit_code, ran.stderr) == (0, "")
    return set(ran.stdout.split())


def test_names_are_completed(work: str) -> None:
    """Profiles, targets, keys: what the server has; nothing where it does not answer."""
    with Session(work, auth="tab:tab", bucket="tabs") as session:
        Bucket(id="tabs").save(existing="skip")
        Group(id="team", members=[]).save(existing="skip")
        filled(session, {"id": "first"}, {"id": "fifth"}, {"id": "second"})
        session.kv.clear()
        session.kv["tabula"] = 1
    assert offered("--profile w") == {"work"}
    assert offered("--profile work kv get t") == {"tabula"}
    for command in ("ls", "get", "find", "put", "patch", "rm", "perms", "history", "cp", "dump"):
        assert offered(f"--profile work {command} to") == {"todos"}
    for begun, found in (
        ("todos/fi", {"todos/first", "todos/fifth"}),
        ("todos/x", set()),
        ("/", {"/buckets/"}),
        ("/buckets/tab", {"/buckets/tabs"}),
        ("/buckets/tabs/", {"/buckets/tabs/collections/", "/buckets/tabs/groups/"}),
        ("/buckets/tabs/g", {"/buckets/tabs/groups/"}),
        ("/buckets/tabs/groups/t", {"/buckets/tabs/groups/team"}),
        ("/buckets/tabs/collections/todos/records/s", {f"{_TODOS}/records/second"}),
        ("/nothing/x", set()),
        ("nothing/x", set()),
    ):
        assert offered(f"--profile work get {begun}") == found
    assert offered("--server http://127.0.0.1:1/v1 get t") == set()


_TODOS = "/buckets/tabs/collections/todos"


def test_no_color() -> None:
    """At a terminal there are colours, unless NO_COLOR says no."""
    code = (
        "from kinto_orm.cli.checks import Finding\nfrom kinto_orm.cli.doctor import _show\n"
        "from kinto_orm.cli.printing import Output\n"
        "_show(Output(), Finding('a', 'problem', 'b'))\n"
    )
    for no_color in ("", "1"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "FORCE_COLOR": "1", "NO_COLOR": no_color, "TERM": "xterm"},
            capture_output=True,
            check=True,
            text=True,
        )
        assert ("\x1b[1;31m" in done.stdout) is not bool(no_color)
