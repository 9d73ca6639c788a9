"""`template`: those of a Kinto, and of a kvp.io server."""

from __future__ import annotations

from pathlib import Path

import pytest

from kinto_orm import Session, Template
from program import Run, as_process

SOURCE = "Welcome to {{ site.name }},\n{{ greeting }}!\n"


def test_templates_go_there_and_back(program: Run, tmp_path: Path) -> None:
    go_there_and_back(program, tmp_path / "motd.j2")


def test_templates_go_there_and_back_over_kvp(kvp_program: Run, tmp_path: Path) -> None:
    go_there_and_back(kvp_program, tmp_path / "motd.j2")


def go_there_and_back(program: Run, file: Path) -> None:
    """To the letter, and rendered from the values that are there or given."""
    program("kv", "set", "site", '{"name": "Example"}')
    file.write_text(SOURCE)
    ran = program("template", "set", "motd.txt", str(file))
    assert (ran.status, ran.out) == (0, "")
    assert program("template", "set", "other", "-", input="{{ n }}").status == 0
    assert sorted(program("template", "list").out.splitlines()) == ["motd.txt", "other"]
    assert program("template", "get", "motd.txt").out == SOURCE
    assert program("template", "get", "other", "--json").out == '"{{ n }}"\n'
    ran = program("template", "render", "motd.txt", "--var", "greeting=Hello")
    assert ran.out == "Welcome to Example,\nHello!\n"
    values = '{"site": {"name": "Home"}, "greeting": "Hi"}'
    for overrides, given in ((values, None), ("-", values)):
        ran = program("template", "render", "motd.txt", "--overrides", overrides, input=given)
        assert ran.out == "Welcome to Home,\nHi!\n"
    assert program("template", "render", "other", "--var", "n=[1, 2]").out == "[1, 2]"
    assert program("template", "del", "other").status == 0
    assert program("template", "list").out == "motd.txt\n"


def test_what_is_not_there(program: Run, kvp_program: Run) -> None:
    for each in (program, kvp_program):
        miss(each)


def miss(program: Run) -> None:
    for command in ("get", "render", "del"):
        ran = program("template", command, "no-such")
        assert (ran.status, ran.out) == (1, "")
        assert "no-such" in ran.err


def test_a_missing_value_is_refused_or_nothing(program: Run) -> None:
    program("template", "set", "t", "-", input="[{{ no_such }}]")
    ran = program("template", "render", "t")
    assert (ran.status, ran.out) == (1, "")
    assert "no_such" in ran.err
    lenient = ("--undefined", "lenient")
    assert program("template", "render", "t", *lenient).out == "[]"
    assert program("template", "render", "t", *lenient, "--trusted", "--json").out == '"[]"\n'


def test_a_source_is_rendered_before_it_is_stored(program: Run, tmp_path: Path) -> None:
    (tmp_path / "t").write_text("{{ 1 + 1 }}")
    assert program("template", "render", "t", "--file", str(tmp_path / "t")).out == "2"
    assert program("template", "list").out == ""


def test_a_wrong_source_is_refused_with_its_line(program: Run) -> None:
    ran = program("template", "set", "t", "-", input="fine\n{% if %}\n")
    assert (ran.status, ran.out) == (1, "")
    assert "2" in ran.err
    assert program("template", "get", "t").status == 1


def test_a_template_that_does_not_end_is_stopped(program: Run) -> None:
    """It is not this process that runs it."""
    source = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    program("template", "set", "t", "-", input=source)
    ran = program("template", "render", "t")
    assert (ran.status, ran.out) == (1, "")


def test_the_same_source_is_not_sent_again(program_session: Session, program: Run) -> None:
    program("template", "set", "t", "-", input="a")
    before = Template.get("t").last_modified
    ran = program("template", "set", "t", "-", input="a")
    assert (ran.status, ran.err) == (0, "template 't' is the same already\n")
    assert Template.get("t").last_modified == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--var", "a"], "write KEY=VALUE"),
        (["--var", "a={1"], "is no JSON"),
        (["--overrides", "{1"], "is no JSON"),
        (["--overrides", "/no/such"], "cannot be read"),
        (["--undefined", "maybe"], "undefined"),
        (["--file", "/no/such"], "cannot be read"),
    ],
)
def test_what_cannot_be_meant_is_misuse(program: Run, arguments: list[str], said: str) -> None:
    ran = program("template", "render", "t", *arguments)
    assert (ran.status, ran.out) == (2, "")
    assert said in ran.err


def test_as_a_process(tmp_path: Path) -> None:
    server = f"sqlite:///{tmp_path}/a.db"
    assert (
        as_process("template", "set", "t", "-", "--server", server, input="{{ x }}\n").status == 0
    )
    ran = as_process("template", "render", "t", "--var", "x=1", "--server", server)
    assert (ran.status, ran.out, ran.err) == (0, "1\n", "")


@pytest.mark.parametrize("source", ["", "x"])
def test_an_empty_source(program: Run, source: str) -> None:
    """It is a template that renders as nothing; no name of a file is none."""
    assert program("template", "set", "t", "-", input=source).status == 0
    ran = program("template", "set", "t", "")
    assert (ran.status, "no file is named" in ran.err) == (2, True)
    assert program("template", "get", "t").out == source
    assert program("template", "set", "t", "/dev/null").status == 0
    assert program("template", "render", "t").out == ""
    assert program("template", "list").out == "t\n"
    assert program("kv", "set", "k", "--file", "").status == 2
