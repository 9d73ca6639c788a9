"""A record that another client nested too deeply hides no other, and is not lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from deep import nested, put_nested, put_template, put_text, put_value, text_of
from kinto_orm import Bucket, Session, Template
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


@pytest.fixture
def past(deep: Session) -> Iterator[str]:
    """A time, after which records are nested too deeply, mended and deleted."""
    filled(deep, {"id": "p", "n": 1}, {"id": "q", "n": 1}, {"id": "r", "n": 1}, collection="past")
    put_nested(deep, "gone", 300, "past")
    entries = deep.request("GET", "/buckets/deep/history", query={"_limit": 1}).json["data"]
    put_nested(deep, "p", 450, "past")
    put_nested(deep, "q", 300, "past")
    put_nested(deep, "q", 2, "past")
    for id in ("gone", "r"):
        deep.request("DELETE", f"/buckets/deep/collections/past/records/{id}")
    yield str(entries[0]["target"]["data"]["last_modified"])
    deep.request("DELETE", "/buckets/deep/collections/past")


def test_its_history(deep: Session, no_profile: None, past: str) -> None:
    """Is shown as it is, with all else."""
    told = [json.loads(line) for line in run(deep, "history", "past", "--json").out.splitlines()]
    assert len(told) == 10
    shown = [each["target"]["data"].get("v") for each in told]
    assert nested(450) in shown
    assert nested(300) in shown
    lines = run(deep, "history", "past/q").out.splitlines()
    assert [line.split("\t")[4] for line in lines] == ["v", "n, v", ""]


def test_its_differences(deep: Session, no_profile: None, past: str) -> None:
    """Whatever was there."""
    ran = run(deep, "diff", "past", past, "--json")
    told = {each["target"][-1]: each for each in map(json.loads, ran.out.splitlines())}
    assert told["p"]["fields"]["v"] == {"before": None, "after": nested(450)}
    assert told["e"]["fields"]["v"] == {"before": nested(300), "after": None}
    assert set(told) == {"p", "q", "e", "r"}
    assert "-> 1" in run(deep, "diff", "past/r", past).out.replace("\t", " ") or ran.err == ""


@pytest.mark.parametrize("dry_run", [(), ("--dry-run",)])
@pytest.mark.parametrize("target", ["past", "/buckets/deep"])
def test_it_is_not_restored(
    deep: Session, no_profile: None, past: str, target: str, dry_run: tuple[str, ...]
) -> None:
    """It is named, and all else is put back."""
    ran = run(deep, "restore", target, past, *dry_run)
    assert ran.status == 1
    assert "+ /buckets/deep/collections/past/records/r" in ran.out
    failed = [line for line in ran.err.splitlines() if "cannot restore" in line]
    assert {line.split(": ")[1].rpartition("/")[2] for line in failed} == {"gone", "p", "q"}
    assert all("nested deeper than 200 levels" in line for line in failed)
    there = {line.split("\t")[0] for line in run(deep, "ls", "past").out.splitlines()}
    assert there == ({"p", "q"} if dry_run else {"p", "q", "r"})


def test_templates(deep: Session, no_profile: None) -> None:
    """Those that are well are listed and rendered beside it; it is listed and deleted."""
    deep.save(Template(name="motd", source="Hello"), Template(name="other", source="x"))
    put_template(deep, "odd.j2", "Bye", text_of(300))
    assert run(deep, "template", "list").out.splitlines() == ["motd", "other", "odd.j2"]
    assert run(deep, "template", "render", "motd").out == "Hello"
    for act in (("get",), ("render",)):
        ran = run(deep, "template", *act, "odd.j2")
        assert (ran.status, ran.out) == (1, "")
        (line,) = ran.err.splitlines()
        assert "Template 'odd.j2'" in line
        assert "nested deeper than 200 levels" in line
    assert run(deep, "template", "del", "odd.j2").status == 0
    assert run(deep, "template", "list").out.splitlines() == ["motd", "other"]
    assert run(deep, "template", "del", "odd.j2").status == 1


def test_keys(deep: Session, no_profile: None) -> None:
    """They are listed, read, changed and deleted as they are stored."""
    deep.kv["well"] = 1
    put_value(deep, "odd", f'{{"v": {text_of(440)}}}')
    assert run(deep, "kv", "list").out.splitlines() == ["odd", "well"]
    told = map(json.loads, run(deep, "kv", "list", "--values", "--json").out.splitlines())
    assert [each["value"] for each in told] == [{"v": nested(440)}, 1]
    assert json.loads(run(deep, "kv", "get", "odd").out) == {"v": nested(440)}
    assert run(deep, "kv", "set", "odd/w", "2").status == 0
    assert run(deep, "kv", "get", "odd/w").out == "2\n"
    ran = run(deep, "kv", "set", "copy", "-", input=json.dumps(nested(300)))
    assert (ran.status, "nested deeper than 200 levels" in ran.err) == (1, True)
    assert run(deep, "kv", "del", "odd/v").status == 0
    assert run(deep, "kv", "del", "odd").status == 0
