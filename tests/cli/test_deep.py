"""A record that another client nested too deeply hides no other, and is not lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from deep import nested, put_nested, put_text
from kinto_orm import Bucket, Session
from kinto_orm.server import open_memory, serve
from program import Ran, filled, in_process

AUTH = "tom:s3cret-p4ss"


@pytest.fixture(scope="module")
def deep() -> Iterator[Session]:
    with (
        open_memory() as server,
        serve(server) as http,
        Session(http.url, auth=AUTH, bucket="deep") as session,
    ):
        Bucket(id="deep").save()
        filled(session, {"id": "a", "n": 1}, {"id": "z", "n": 2})
        put_nested(session, "deep", 300)
        yield session


def run(deep: Session, *arguments: str, **options: str) -> Ran:
    where = ("--server", str(deep.server_url), "--auth", AUTH, "--bucket", "deep")
    return in_process(*where, *arguments, **options)


@pytest.mark.parametrize("command", [("ls", "todos"), ("find", "todos", "--sort", "id")])
def test_it_is_listed(deep: Session, no_profile: None, command: tuple[str, ...]) -> None:
    """With its data, as the others are."""
    ran = run(deep, *command, "--json")
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert [each["id"] for each in rows] == ["a", "deep", "z"]
    assert rows[1]["v"] == nested(300)
    assert run(deep, *command).out.splitlines()[1].startswith("deep\t")


def test_it_is_got(deep: Session, no_profile: None) -> None:
    """With its permissions, if they are wanted."""
    assert json.loads(run(deep, "get", "todos/deep").out)["v"] == nested(300)
    told = json.loads(run(deep, "get", "todos/deep", "--permissions").out)
    assert told["data"]["v"] == nested(300)
    assert told["permissions"]["write"]


@pytest.mark.parametrize("only", [(), ("--only", "records"), ("--format", "csv")])
def test_it_is_dumped(deep: Session, no_profile: None, only: tuple[str, ...]) -> None:
    """A dump has it; of nothing less is it a dump."""
    ran = run(deep, "dump", "todos", *only)
    assert (ran.status, ran.err) == (0, "")
    assert json.dumps(nested(300)).replace(" ", "") in ran.out.replace('""', '"').replace(" ", "")


@pytest.mark.parametrize("kind", ["ndjson", "yaml"])
def test_a_load_names_it(deep: Session, no_profile: None, tmp_path: Path, kind: str) -> None:
    """The others are loaded; where it is there already, too."""
    file = tmp_path / f"deep.{kind}"
    assert run(deep, "dump", "--output", str(file)).status == 0
    there = run(deep, "load", str(file))
    assert there.status == 1
    assert "todos/records/deep" in there.err
    assert "4 unchanged, 1 failed" in there.err
    ran = in_process("--server", "memory://", "load", str(file))
    assert "4 created, 1 failed" in ran.err
    assert "nested deeper than 200 levels" in ran.err


@pytest.mark.parametrize("options", [(), ("--no-permissions",)])
def test_a_copy_names_it(
    deep: Session, no_profile: None, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """And copies the others."""
    ran = run(deep, "cp", "/buckets/deep", f"sqlite:///{tmp_path}/c.db/buckets/deep", *options)
    assert ran.status == 1
    assert "'deep' cannot be" in ran.err
    assert "4 copied, 1 failed" in ran.err


def test_it_is_looked_past(deep: Session, no_profile: None) -> None:
    """By what writes models of what is there."""
    ran = run(deep, "models", "todos")
    assert "class Todo" in ran.out
    assert "left out" in ran.err


@pytest.mark.parametrize("levels", [101, 150, 202])
@pytest.mark.parametrize("opened", ["[", '{"a":'])
def test_what_is_no_model(deep: Session, no_profile: None, levels: int, opened: str) -> None:
    """What is loaded, and nested too deeply for classes of it, is named; all else is written."""
    deep.request("PUT", "/buckets/deep/collections/odd", json={})
    put_text(deep, "ok", "1", "odd")
    closed = "]" if opened == "[" else "}"
    put_text(deep, "odd", f"{opened * levels}1{closed * levels}", "odd")
    ran = run(deep, "models", "odd")
    deep.request("DELETE", "/buckets/deep/collections/odd")
    assert ran.status == 0
    assert "v: int" in ran.out
    (line,) = ran.err.splitlines()
    assert line.startswith("left out: odd/odd: ")


@pytest.mark.parametrize("to", ["-", "file"])
def test_what_is_no_yaml(deep: Session, no_profile: None, tmp_path: Path, to: str) -> None:
    """It is named, with the format that takes it; a file that was there stays."""
    put_nested(deep, "deeper", 400)
    file = tmp_path / "was.yaml"
    file.write_text("as it was")
    output = to if to == "-" else str(file)
    ran = run(deep, "dump", "--format", "yaml", "--output", output)
    as_ndjson = run(deep, "dump", "--format", "ndjson")
    deep.request("DELETE", "/buckets/deep/collections/todos/records/deeper")
    assert ran.status == 1
    (line,) = ran.err.splitlines()
    assert "/buckets/deep/collections/todos/records/deeper" in line
    assert "--format ndjson" in line
    assert file.read_text() == "as it was"
    assert as_ndjson.status == 0


def test_it_is_deleted(deep: Session, no_profile: None) -> None:
    """By its name, with others."""
    put_nested(deep, "deeper", 400)
    ran = run(deep, "rm", "todos/deeper", "todos/a", "todos/never", "--yes")
    assert "deleted 2" in ran.err
    assert "'never'" in ran.err
    left = run(deep, "ls", "todos").out.splitlines()
    assert [each.partition("\t")[0] for each in left] == ["deep", "z"]
