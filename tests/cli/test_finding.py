"""`find`, and what `ls` shows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kinto_orm import Bucket, Collection, Group, Record, Session
from program import Run, filled, in_process

ROWS = (
    {"id": "a", "title": "nine", "price": 9, "done": False, "tags": ["x"]},
    {"id": "b", "title": "seventy", "price": 74, "done": False},
    {"id": "c", "title": "Ninety", "price": 90, "done": True},
)


def ids(out: str) -> list[str]:
    return [json.loads(line)["id"] for line in out.splitlines()]


def test_conditions(program_session: Session, program: Run) -> None:
    filled(program_session, *ROWS)
    for arguments, found in (
        ((), "abc"),
        (("price>=74",), "bc"),
        (("price>=74", "done=false"), "b"),
        (("title~n*",), "ac"),
        (("title in nine,Ninety", "tags not exists"), "c"),
        (("tags has x",), "a"),
        (("--sort", "done,-price", "--limit", "2"), "ba"),
        (("price=9.5",), ""),
    ):
        assert ids(program("find", "todos", *arguments, "--json").out) == [*found]


def test_fields_and_counts(program_session: Session, program: Run) -> None:
    filled(program_session, *ROWS)
    line = program("find", "todos", "price=9", "--fields", "title", "--json").out
    assert json.loads(line).keys() == {"id", "last_modified", "title"}
    cells = program("find", "todos", "price=9", "--fields", "title,price").out.split("\t")
    assert (cells[0], cells[2:]) == ("a", ["nine", "9\n"])
    assert program("find", "todos", "done=false", "--count").out == "2\n"


@pytest.mark.parametrize("bad", ["price>", "a b c", "=1", "x=>1"])
def test_what_is_no_condition(bad: str) -> None:
    ran = in_process("--server", "memory://tests", "find", "todos", bad)
    assert (ran.status, ran.out) == (2, "")
    assert "price>=74" in ran.err


def test_a_condition_that_begins_with_a_dash(program_session: Session, program: Run) -> None:
    filled(program_session, {"id": "a", "-x": -1})
    assert ids(program("find", "todos", "--json", "--", "-x=-1").out) == ["a"]


def test_missing_collections_are_said(program: Run) -> None:
    assert program("find", "nothing").status == 1


def test_ls_counts(program_session: Session, program: Run) -> None:
    filled(program_session, *ROWS)
    Group(id="g", members=["account:ada"]).save(session=program_session)
    bucket = f"/buckets/{program_session.bucket}"
    assert program("ls", bucket).out.split("\t")[::2] == ["todos", "3\n"]
    assert program("ls", bucket, "--no-count").out.split("\t")[0] == "todos"
    assert program("ls", f"{bucket}/groups").out.split("\t")[::2] == ["g", '["account:ada"]\n']
    assert ids(program("ls", bucket, "--json").out) == ["todos"]
    assert program("ls", f"{bucket}/groups/g").status == 2


def test_ls_without_a_target(program_session: Session, program: Run) -> None:
    """The default collection, else the default bucket, else all buckets."""
    filled(program_session, *ROWS)
    assert ids(program("ls", "--collection", "todos", "--json").out) == ["a", "b", "c"]
    assert ids(program("ls", "--json").out) == ["todos"]
    assert program_session.bucket in ids(program("ls", "/", "--json").out)


def test_ls_shows_some_fields(program_session: Session, program: Run) -> None:
    filled(program_session, *ROWS)
    lines = [line.split("\t") for line in program("ls", "todos", "--limit", "2").out.splitlines()]
    # PostgreSQL keeps the fields in an order of its own.
    assert [sorted(line[2:]) for line in lines] == [
        ["9", '["x"]', "false", "nine"],
        ["", "74", "false", "seventy"],
    ]


def test_texts_do_not_break_lines(program_session: Session, program: Run) -> None:
    """No text of a record ends a line or gives the terminal a command."""
    filled(program_session, {"id": "a", "x": "1\n2\t3\x1b[2J\x9b\u2028"})
    out = program("ls", "todos").out
    assert (out.count("\n"), out.count("\t")) == (1, 2)
    assert not any(each in out for each in "\x1b\x9b\u2028")
    assert json.loads(program("ls", "todos", "--json").out)["x"] == "1\n2\t3\x1b[2J\x9b\u2028"
    assert not any(each in program("get", "todos/a").out for each in "\x1b\x9b\u2028")


def test_get_with_permissions(program_session: Session, program: Run) -> None:
    Collection(id="c", permissions={"read": ["system.Everyone"]}).save(session=program_session)
    told = json.loads(program("get", "c", "--permissions").out)
    assert (told["data"]["id"], told["permissions"]["read"]) == ("c", ["system.Everyone"])


def test_a_closed_pipe(tmp_path: Path) -> None:
    """`| head -1` ends it without a word."""
    server = f"sqlite:///{tmp_path}/k.db"
    with Session(server, bucket="b") as session:
        Bucket(id="b").save()
        scope = filled(session)
        scope.save_all(Record(id=f"r{n:04}", text="x" * 1000) for n in range(200))
    program = f"{sys.executable} -m kinto_orm.cli find todos --json --server {server} --bucket b"
    shell = f"{program} | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, check=False, text=True)
    assert (done.returncode, done.stderr) in ((141, ""), (0, ""))
    assert done.stdout.count("\n") <= 1
