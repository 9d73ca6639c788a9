"""The page on the command line, and what holds for all commands."""

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

from kinto_orm import Session
from kinto_orm.cli.app import app
from program import as_process, in_process

DOCS = Path(__file__).parents[2] / "docs"


def page_runner() -> Any:
    found = importlib.util.spec_from_file_location("run_commands", DOCS / "run_commands.py")
    assert found
    assert found.loader
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_the_page_shows_what_the_commands_print(no_profile: None) -> None:
    """Each command of the page prints what stands below it; else run docs/run_commands.py."""
    text = (DOCS / "command-line.md").read_text()
    assert page_runner().rewritten(text) == text


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
    if words[0] not in ("ls", "get") and not hasattr(command, "commands"):
        assert "Examples:" in ran.out


def test_each_command_is_on_the_page() -> None:
    text = (DOCS / "command-line.md").read_text()
    for words, command in COMMANDS.items():
        if not hasattr(command, "commands"):
            assert f"kinto-orm {' '.join(words)}" in text


def completed(words: str, **environment: str) -> set[str]:
    """What bash offers after these words."""
    ran = as_process(
        _KINTO_ORM_COMPLETE="complete_bash",
        COMP_WORDS=words,
        COMP_CWORD=str(len(words.split(" ")) - 1),
        **environment,
    )
    assert (ran.status, ran.err) == (0, "")
    return set(ran.out.split())


def test_the_shell_completes(http_kinto: str, tmp_path: Path) -> None:
    """Commands, options and profiles, and what the server has; nothing where it does not answer."""
    with Session(http_kinto, auth="tab:tab") as session:
        session.kv.clear()
        session.kv["tabula"] = 1
    config = tmp_path / "profiles.toml"
    config.write_text(f'[work]\nserver = "{http_kinto}"\nauth = "tab:tab"\n')
    config.chmod(0o600)
    environment = {"KINTO_ORM_CONFIG": str(config)}
    assert completed("kinto-orm ser") == {"serve"}
    assert completed("kinto-orm --profile w", **environment) == {"work"}
    assert completed("kinto-orm --profile work kv get t", **environment) == {"tabula"}
    dead = {"KINTO_ORM_SERVER": "http://127.0.0.1:1/v1"}
    assert completed("kinto-orm kv get t", **environment, **dead) == set()


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
