"""Every command as a process on a real server, as a shell runs it; in one story."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.main import get_command

from kinto_orm.cli.app import app
from program import Ran, as_process

# What is typed, what is given to the input, the exit status, and a part of what is printed.
Line = tuple[str, str | None, int, str]

STORY: list[Line] = [
    ("info", None, 0, "version"),
    ("account", None, 0, ""),
    ("doctor --no-writes", None, 0, ""),
    ("put /buckets/story {}", None, 0, '"id": "story"'),
    ("put /buckets/story/collections/posts {}", None, 0, '"id": "posts"'),
    ("put posts/a -", '{"title": "One", "n": 1}', 0, '"title": "One"'),
    ("put posts/b -", '{"title": "Two", "n": 2}', 0, '"title": "Two"'),
    ("put posts/a -", '{"title": "Late", "last_modified": 1}', 1, ""),
    ("put posts/a {", None, 2, ""),
    ("patch posts/a -", '{"n": 10}', 0, '"n": 10'),
    ("get posts/a --json", None, 0, '"n": 10'),
    ("get posts/nobody", None, 1, ""),
    ("ls posts", None, 0, "a\t"),
    ("find posts n>=5 --json", None, 0, '"a"'),
    ("find posts n>>5", None, 2, ""),
    ("perms posts --grant read=everyone", None, 0, "everyone"),
    ("cp posts copies", None, 0, ""),
    ("mv copies/b copies/c", None, 0, ""),
    ("history posts/a --json", None, 0, '"update"'),
    ("diff posts yesterday", None, 0, "collections/posts"),
    ("restore posts/nobody yesterday", None, 1, ""),
    ("watch posts --since nothing", None, 2, ""),
    ("dump --output {here}/blog.ndjson", None, 0, ""),
    ("load {here}/blog.ndjson --json", None, 0, '"unchanged": '),
    ("load {here}/nothing.ndjson", None, 2, ""),
    ("models posts", None, 0, "class Posts(Record"),
    ("schema plan nothing:Here", None, 2, ""),
    ("schema apply nothing:Here", None, 2, ""),
    ("kv set site -", '{"host": "example.org"}', 0, ""),
    ("kv get site/host", None, 0, "example.org"),
    ("kv list", None, 0, "site"),
    ("kv get nothing", None, 1, ""),
    ("template set motd -", "Welcome to {{ site.host }}!", 0, ""),
    ("template render motd", None, 0, "Welcome to example.org!"),
    ("template get motd", None, 0, "site.host"),
    ("template list", None, 0, "motd"),
    ("template del motd", None, 0, ""),
    ("kv del site", None, 0, ""),
    ("rm copies --yes", None, 0, ""),
    ("rm posts/a posts/b", None, 0, ""),
    ("login --name work", "", 2, ""),
    ("serve --data {here}/nowhere/x.db", None, 2, ""),
    ("browse --port 70000", None, 2, ""),
]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("story")


def typed(line: str, given: str | None, here: Path, server: str) -> Ran:
    """Run a line, as a user of its own and in the bucket of the story."""
    where = ("--server", server, "--auth", "story:teller", "--bucket", "story")
    alone = line.split()[0] in ("serve", "login")
    config = {"KINTO_ORM_CONFIG": str(here / "profiles.toml")}
    words = [each.replace("{here}", str(here)) for each in line.split()]
    return as_process(*words, *(() if alone else where), input=given, **config)


def test_the_story(here: Path, http_kinto: str) -> None:
    """Each ends with its status, prints what it found, and no traceback."""
    wrong = []
    for line, given, status, part in STORY:
        ran = typed(line, given, here, http_kinto)
        if ran.status != status or part not in ran.out or "Traceback" in ran.err:
            wrong.append((line, ran))
    assert not wrong


def test_no_command_is_left_out() -> None:
    """Each command of the program is in the story."""
    group = get_command(app)
    names = set(group.commands)  # type: ignore[attr-defined]
    assert names <= {line.split()[0] for line, *_ in STORY}


def test_a_wrong_token(http_kinto: str) -> None:
    """It is refused, and not shown. What no server means, `test_no_server.py` asks."""
    ran = as_process("ls", "/buckets/x", "--server", http_kinto, "--auth", "Bearer nothing")
    assert (ran.status, ran.out) == (1, "")
    assert "Traceback" not in ran.err
    assert "nothing" not in ran.err
