"""`dump` and `load`."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kinto_orm import Bucket, Collection, Everyone, Group, Record, Session
from kinto_orm.cli.dumps import columns, ndjson, tables, wizard
from kinto_orm.cli.dumps.entries import Entry, Parts
from kinto_orm.cli.dumps.fetching import Fetching, Notes
from kinto_orm.cli.targets import path_of
from kinto_orm.server import open_memory, serve
from program import Run, as_process, in_process

ODD: dict[str, Any] = {
    "title": "Grüße ☃ 𝄞",
    "big": 2**53 + 1,
    "small": -0.0,
    "number": 0.1,
    "no": None,
    "list": [1, "1", True, None, {"a b": []}],
    "permissions": {"read": "a field"},
    "a.b": "dot",
    "_x": 1,
    "save": "method",
    "text": "a\r\nb\tc",
}


def filled(session: Session, *, count: int = 3) -> None:
    """A bucket with all kinds of objects, and permissions."""
    bucket = Bucket.get(session.bucket, session=session)
    bucket["theme"] = "dark"
    bucket.permissions.grant("read", Everyone)
    bucket.save()
    group = Group(id="writers", members=["account:ada"]).save(session=session)
    Collection(id="empty").save(session=session)
    schema: Any = {"type": "object", "properties": {"title": {"type": "string"}}}
    Collection(id="strict", json_schema=schema, permissions={"read": {Everyone}}).save(
        session=session
    )
    Collection(id="todos", sort="title").save(session=session)
    strict = session.scoped(collection="strict")
    Record(id="s", title="fits").save(session=strict)
    records = Collection.get("todos", session=session).records
    records.new({"id": "odd", **ODD}, permissions={"write": {group.principal}}).save()
    for n in range(count):
        records.new({"id": f"r{n}", "title": f"t{n}"}, permissions={"read": {f"u:{n}"}}).save()


def everything(program: Run, *options: str) -> list[Any]:
    """All that a bucket has, without what each server makes by itself."""
    ran = program("dump", *options)
    assert (ran.status, ran.err) == (0, "")
    lines = [json.loads(each) for each in ran.out.splitlines()]
    for line in lines:
        line.get("data", {}).pop("last_modified", None)
        if "/strict/records/" in line.get("uri", ""):
            line["data"].pop("schema")
    return lines


def without(lines: list[Any], writer: str) -> list[Any]:
    """The same, and nothing of a writer."""
    for line in lines:
        if writer in line.get("permissions", {}).get("write", ()):
            line["permissions"]["write"].remove(writer)
    return lines


def test_a_dump_has_all_and_says_so(program_session: Session, program: Run) -> None:
    """What it is at first, the objects, what they live in before them, and that it is complete."""
    filled(program_session)
    head, *objects, end = everything(program)
    bucket = f"/buckets/{program_session.bucket}"
    assert head == {"format": "kinto-orm dump", "version": 1, "buckets": [program_session.bucket]}
    assert end == {"complete": True, "objects": 10}
    assert [each["uri"].removeprefix(bucket) for each in objects] == [
        "",
        "/groups/writers",
        "/collections/empty",
        "/collections/strict",
        "/collections/strict/records/s",
        "/collections/todos",
        *(f"/collections/todos/records/{id}" for id in ("odd", "r0", "r1", "r2")),
    ]
    odd = objects[6]
    assert odd["data"] == {"id": "odd", **ODD}
    assert f"{bucket}/groups/writers" in odd["permissions"]["write"]


def test_what_is_loaded_is_equal(program_session: Session, program: Run, tmp_path: Path) -> None:
    """Into another server: data and permissions; and loaded once more, nothing is written."""
    filled(program_session)
    file, other = tmp_path / "all.ndjson", f"memory://{program_session.bucket}"
    assert program("dump", "--output", str(file)).status == 0
    with Session(other) as session:
        me = str((session.server_info().user or {})["id"])
        ran = in_process("load", str(file), "--server", other)
        assert (ran.status, ran.out, ran.err) == (0, "", "10 created\n")
        there = everything(in_process, "--server", other, "--bucket", program_session.bucket)
        # Whoever writes is always among those who may.
        assert without(there, me) == without(everything(program), me)
        ran = in_process("load", str(file), "--server", other)
        assert (ran.status, ran.err) == (0, "10 unchanged\n")


def test_a_load_goes_on_where_it_ended(
    program_session: Session, program: Run, tmp_path: Path
) -> None:
    """What is there and equal is left alone, to the timestamp; nothing is there twice."""
    filled(program_session, count=30)
    file = tmp_path / "all.ndjson"
    assert program("dump", "--output", str(file)).status == 0
    records = program_session.scoped(collection="todos")
    lost = records.find(Record).limit(12).all()
    records.delete_all(lost)
    kept = {each.id: each.last_modified for each in records.find(Record)}
    ran = program("load", str(file), "--workers", "3")
    assert (ran.status, ran.err) == (0, "12 created, 25 unchanged\n")
    there = {each.id: each.last_modified for each in records.find(Record)}
    assert len(there) == 31
    assert kept.items() <= there.items()


def test_a_part_of_a_bucket(program_session: Session, program: Run) -> None:
    filled(program_session)
    lines = everything(program, "todos", "--only", "records")
    assert [each["data"]["id"] for each in lines[1:-1]] == ["odd", "r0", "r1", "r2"]
    assert not any("permissions" in each for each in lines)
    path = f"/buckets/{program_session.bucket}/collections/strict"
    assert len(everything(program, path, "todos")) == 10
    assert program("dump", "todos/odd").status == 2
    assert program("dump", "nothing").status == 1
    assert program("dump", "--only", "recrods").status == 2


def test_permissions_that_are_not_shown_are_said(
    program_session: Session, program: Run, tmp_path: Path
) -> None:
    """They are not in the dump, and a load leaves those that are there alone."""
    filled(program_session)
    file = tmp_path / "theirs.ndjson"
    ran = program("dump", "--auth", "eve:x", "--output", str(file))
    assert ran.status == 0
    assert "the permissions of 10 objects" in ran.err
    assert "permissions" not in file.read_text().replace('"permissions": {"read": "a field"}', "")
    assert program("load", str(file)).err == "10 unchanged\n"


def test_a_collection_that_changes_meanwhile_is_said(program_session: Session) -> None:
    """What is written after the dump began may be in it or not; one is told."""
    filled(program_session)
    todos = Collection.get("todos", session=program_session).records
    notes = Notes()

    def begin(collection: str, count: int) -> None:
        if collection == "todos":
            todos.new(id="later").save()

    fetching = Fetching(program_session, Parts(), 2, begin, notes)
    ids = [each.id for each in fetching.bucket(program_session.bucket)]
    assert len(ids) == len(set(ids)) == 11
    assert ["todos changed" in each for each in notes.lines()] == [True]


def test_a_record_that_was_changed_meanwhile_is_kept(
    program_session: Session, program: Run, tmp_path: Path
) -> None:
    """It is named with its line and its fields, the rest is loaded; --force overwrites it."""
    filled(program_session)
    file = tmp_path / "all.ndjson"
    program("dump", "--output", str(file))
    records = Collection.get("todos", session=program_session).records
    theirs = records.get("r0")
    theirs["title"] = "theirs"
    theirs.permissions.grant("read", "u:theirs")
    theirs.save()
    records.get("r1").delete()
    ran = program("load", str(file))
    assert ran.status == 1
    assert "r0: it was changed at " in ran.err
    assert "line 9: " in ran.err
    assert "differs in title" in ran.err
    assert "1 created, 8 unchanged, 1 failed" in ran.err
    kept = records.get("r0")
    assert (kept["title"], kept.permissions.read) == ("theirs", {"u:0", "u:theirs"})
    ran = program("load", str(file), "--force")
    assert (ran.status, ran.err) == (0, "1 updated, 9 unchanged\n")
    mine = records.get("r0")
    assert (mine["title"], mine.permissions.read) == ("t0", {"u:0"})


def test_what_was_edited_in_the_file_is_written(
    program_session: Session, program: Run, tmp_path: Path
) -> None:
    """Fields are set and taken away, permissions granted and revoked."""
    filled(program_session)
    file = tmp_path / "all.ndjson"
    lines = program("dump").out.splitlines()
    for number, line in enumerate(lines):
        value = json.loads(line)
        if value.get("uri", "").endswith("/r0"):
            del value["data"]["title"]
            value["data"]["new"] = 1
            value["permissions"]["read"] = ["u:new"]
            lines[number] = json.dumps(value)
        if value.get("uri", "").endswith("/writers"):
            value["data"]["members"] = []
            lines[number] = json.dumps(value)
        if value.get("uri", "").endswith("/strict"):
            del value["data"]["schema"]
            lines[number] = json.dumps(value)
    file.write_text("\n".join(lines))
    ran = program("load", str(file), "--dry-run")
    bucket = f"/buckets/{program_session.bucket}"
    assert ran.out.splitlines() == [
        f"~ {bucket}/groups/writers: members",
        f"~ {bucket}/collections/strict: schema",
        f"~ {bucket}/collections/todos/records/r0: new, permissions.read, title",
    ]
    assert Group.get("writers", session=program_session).members == ["account:ada"]
    assert program("load", str(file)).err == "3 updated, 7 unchanged\n"
    record = Collection.get("todos", session=program_session).records.get("r0")
    assert (record["new"], "title" in record, record.permissions.read) == (1, False, {"u:new"})
    assert Group.get("writers", session=program_session).members == []
    assert Collection.get("strict", session=program_session).json_schema is None


def test_what_cannot_be_is_named_and_the_rest_is_loaded(
    program_session: Session, program: Run, tmp_path: Path
) -> None:
    """Each with its line; records that do not fit their schema among them."""
    bucket = f"/buckets/{program_session.bucket}"
    schema = {"properties": {"title": {"type": "string"}}}
    records = f"{bucket}/collections/c/records"
    lines: list[Any] = [
        {"format": "kinto-orm dump", "version": 1, "buckets": [program_session.bucket]},
        {"uri": f"{bucket}/collections/c", "data": {"schema": schema}},
        {"uri": f"{records}/a", "data": {"title": "x"}},
        {"uri": f"{records}/b", "data": {"title": 3}},
        {"uri": f"{records}/c d", "data": {}},
        {"uri": f"{records}/e", "data": {"deleted": True}},
        {"uri": f"{bucket}/collections/c d/records/x", "data": {}},
        {"uri": f"{bucket}/collections/missing/records/x", "data": {}},
        {"uri": "/nowhere", "data": {}},
        {"uri": f"{records}/f", "data": {}, "permissions": {"fly": ["x"]}},
        {"uri": f"{records}/g", "data": [], "permissions": {}},
        {"uri": f"{records}/a", "data": {"title": "x"}},
        {"uri": f"{records}/h", "data": {"size": 10**30}},
        {"complete": True, "objects": 12},
    ]
    file = tmp_path / "odd.ndjson"
    file.write_text("\n".join(map(json.dumps, lines)))
    ran = program("load", str(file))
    assert ran.status == 1
    named = set(re.findall(r"kinto-orm: line (\d+)", ran.err))
    assert named == {"4", "5", "6", "7", "8", "9", "10", "11"}
    assert "3 created, 1 unchanged, 8 failed" in ran.err
    c = program_session.scoped(collection="c")
    assert [each.id for each in c.find(Record)] == ["a", "h"]
    # PostgreSQL gives it back as an integer.
    size: Any = Record.get("h", session=c)["size"]
    assert float(size) == 1e30
    assert "4 unchanged, 8 failed" in program("load", str(file)).err


def test_delete_missing(program_session: Session, program: Run, tmp_path: Path) -> None:
    """What the file does not have is deleted; nothing is when something failed."""
    filled(program_session)
    file = tmp_path / "all.ndjson"
    program("dump", "--output", str(file))
    todos = Collection.get("todos", session=program_session).records
    todos.new(id="later", title="x").save()
    empty = Collection.get("empty", session=program_session).records
    empty.new(id="too", title="x").save()
    ran = program("load", str(file), "--delete-missing", "--dry-run", "--json")
    bucket = f"/buckets/{program_session.bucket}/collections"
    assert [json.loads(each) for each in ran.out.splitlines()] == [
        {"action": "deleted", "uri": f"{bucket}/empty/records/too", "fields": []},
        {"action": "deleted", "uri": f"{bucket}/todos/records/later", "fields": []},
    ]
    lines = file.read_text().splitlines()
    wrong = tmp_path / "wrong.ndjson"
    wrong.write_text("\n".join([*lines[:-2], "{", lines[-1]]))
    ran = program("load", str(wrong), "--delete-missing")
    assert ran.status == 1
    assert "line 11 is not JSON" in ran.err
    assert "nothing was deleted" in ran.err
    ran = program("load", str(file), "--delete-missing")
    assert (ran.status, ran.err) == (0, "10 unchanged, 2 deleted\n")
    assert program("load", str(file), "--delete-missing", "--only", "groups").status == 2
    assert program("load", str(file), "--delete-missing", "--cut").status == 2
    # What was not dumped, or is not said, is not missing.
    program("dump", "--only", "attributes,groups", "--output", str(file))
    assert program("load", str(file), "--delete-missing").status == 2
    tree = tmp_path / "tree.yaml"
    tree.write_text(f"buckets: {{{program_session.bucket}: {{collections: {{todos: {{}}}}}}}}")
    assert program("load", str(tree), "--delete-missing", "--whole").err == "2 unchanged\n"
    assert len(todos.find().all()) == 4


def test_a_cut_file_is_refused(program_session: Session, program: Run, tmp_path: Path) -> None:
    """Before anything is loaded, unless --cut says that it may be; a pipe at its end."""
    filled(program_session)
    whole = program("dump").out
    there = ("--bucket", f"{program_session.bucket}-cut")
    file = tmp_path / "cut.ndjson"
    file.write_text(whole[: whole.rindex("/records/r1") + 20])
    ran = program("load", str(file), *there)
    assert (ran.status, "it was cut" in ran.err) == (1, True)
    assert "Nothing was loaded" in ran.err
    ran = program("load", str(file), *there, "--cut")
    assert (ran.status, ran.err) == (0, "8 created\n")
    ran = program("load", "-", *there, input=file.read_text())
    assert (ran.status, "it was cut" in ran.err) == (1, True)
    file.write_text("[1]\n")
    ran = program("load", str(file), *there)
    assert (ran.status, "line 1 is not that of a dump" in ran.err) == (1, True)


def test_into_another_bucket(program_session: Session, program: Run, tmp_path: Path) -> None:
    """With --bucket, the only bucket of a file goes there; principals of its groups, too."""
    filled(program_session)
    file, copy = tmp_path / "all.ndjson", f"{program_session.bucket}-copy"
    program("dump", "--output", str(file))
    ran = program("load", str(file), "--bucket", copy, "--collection", "todos")
    assert (ran.status, ran.err) == (0, "6 created\n")
    there = program_session.scoped(bucket=copy, collection="todos")
    record = Record.get("odd", session=there)
    assert f"/buckets/{copy}/groups/writers" in record.permissions.write
    assert there.find(Collection).count() == 1


def test_the_personal_bucket_is_anybodys_own(tmp_path: Path) -> None:
    """It is dumped as "default", and loaded into that of whoever loads it."""
    one, two = f"sqlite:///{tmp_path}/1.db", f"sqlite:///{tmp_path}/2.db"
    with Session(one, auth="a:b", collection="todos") as session:
        Record(id="x", title="mine").save(session=session)
    file = tmp_path / "mine.ndjson"
    assert in_process("dump", "--server", one, "--auth", "a:b", "--output", str(file)).status == 0
    assert in_process("load", str(file), "--server", two, "--auth", "c:d").status == 0
    with Session(two, auth="c:d", collection="todos"):
        assert Record.get("x")["title"] == "mine"


def test_a_dump_that_fails_leaves_nothing(
    program_session: Session, program: Run, tmp_path: Path
) -> None:
    """No half file, and the one that was there stays; nothing is written where nothing may be."""
    filled(program_session)
    file = tmp_path / "all.ndjson"
    file.write_text("old")
    assert program("dump", "todos", "nothing", "--output", str(file)).status == 1
    assert [(each.name, each.read_text()) for each in tmp_path.glob("*.ndjson*")] == [
        ("all.ndjson", "old")
    ]
    assert program("dump", "--output", str(tmp_path / "no" / "x")).status == 2
    assert program("load", str(tmp_path / "none.ndjson")).status == 2
    assert program("dump", "--format", "xml").status == 2


def test_csv(program_session: Session, program: Run, tmp_path: Path) -> None:
    """Every value comes back as what it was, also those that look like another."""
    filled(program_session)
    looks: dict[str, Any] = {
        "a": "12",
        "b": "",
        "c": None,
        "d": '"',
        "e": "null",
        "f": " 1",
        "g": [],
    }
    Collection.get("todos", session=program_session).records.new(looks | {"id": "1"}).save()
    check_table(program_session, program, tmp_path / "todos.csv")
    ran = program("dump", "--format", "csv")
    assert (ran.status, "the records of one collection" in ran.err) == (2, True)


def test_parquet(program_session: Session, program: Run, tmp_path: Path) -> None:
    """Columns have types; what none has comes back as what it was."""
    filled(program_session)
    check_table(program_session, program, tmp_path / "todos.parquet")
    table: Any = pyarrow.parquet.read_table(tmp_path / "todos.parquet")
    assert str(table.schema.field("big").type) == "int64"
    assert table.column("title").to_pylist() == [ODD["title"], "t0", "t1", "t2"]


def test_parquet_names_the_extra(
    program_session: Session, program: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where pyarrow is missing, it is said how to get it."""
    filled(program_session)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    ran = program("dump", "todos", "--format", "parquet")
    assert (ran.status, ran.out) == (2, "")
    assert "pip install 'kinto-orm[arrow]'" in ran.err


def test_a_closed_pipe_ends_it_quietly(tmp_path: Path) -> None:
    server = f"sqlite:///{tmp_path}/x.db"
    with Session(server, bucket="b") as session:
        Bucket(id="b").save()
        filled(session)
        text = "x" * 300_000
        Collection.get("todos").records.new(id="large", text=text).save()
    command = [sys.executable, "-m", "kinto_orm.cli", "dump", "--server", server, "--bucket", "b"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b'{"format"')
        process.stdout.close()
        assert process.wait() == 141
        assert process.stderr.read() == b""


def check_table(session: Session, program: Run, file: Path) -> None:
    """Dump a collection, load it elsewhere, and edit nothing: all is equal."""
    assert program("dump", "todos", "--output", str(file)).status == 0
    there = session.scoped(bucket=f"{session.bucket}-{file.suffix[1:]}", collection="todos")
    where = ("--bucket", there.bucket, "--collection", "todos")
    ran = program("load", str(file), *where)
    assert (ran.status, ran.err) == (0, f"{count_of(session) + 2} created\n")
    assert program("load", str(file), *where).err == f"{count_of(session)} unchanged\n"
    assert data_in(there) == data_in(session.scoped(collection="todos"))


def count_of(session: Session) -> int:
    return session.scoped(collection="todos").find(Record).count()


def data_in(session: Session) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in each.model_dump().items() if name != "last_modified"}
        for each in session.find(Record)
    ]


WIZARD = """
attachment-schema: &schema
  type: object
  properties: {url: {type: string}}
buckets:
  blog:
    permissions:
      read: [system.Everyone]
    data: {theme: no, day: 2018-06-22, number: 1e3, octal: 010}
    groups:
      writers:
        data: {members: [account:ada]}
        permissions: {write: [account:ada]}
    collections:
      posts:
        data: {schema: *schema}
        records:
          123:
            data: {id: "123", url: x}
            permissions: {}
          first:
            data: {url: y, on: off}
            permissions: {read: [account:eve]}
"""


def test_a_file_of_kinto_wizard(program_session: Session, program: Run, tmp_path: Path) -> None:
    """Scalars are those of YAML 1.2; what the file does not name stays; and it is dumped alike."""
    file = tmp_path / "blog.yaml"
    file.write_text(WIZARD)
    ran = program("load", str(file))
    assert (ran.status, ran.err) == (0, "4 created, 1 updated\n")
    bucket = Bucket.get(program_session.bucket, session=program_session)
    assert (bucket["theme"], bucket["day"], bucket["number"]) == ("no", "2018-06-22", 1000)
    posts = program_session.scoped(collection="posts")
    first = Record.get("first", session=posts)
    assert (first["on"], first.permissions.read) == ("off", {"account:eve"})
    first["more"] = 1
    first.save()
    assert program("load", str(file)).err == "5 unchanged\n"
    assert Record.get("first", session=posts)["more"] == 1
    lines = program("dump", "--format", "yaml").out
    tree = yaml.safe_load(lines)["buckets"][program_session.bucket]
    assert tree["data"]["theme"] == "no"
    assert list(tree["collections"]["posts"]["records"]) == ["123", "first"]
    again = tmp_path / "again.yml"
    again.write_text(lines)
    assert program("load", str(again)).err == "5 unchanged\n"
    file.write_text("buckets: [1]")
    assert program("load", str(file)).status == 1


def test_parts(program_session: Session, program: Run, tmp_path: Path) -> None:
    """`--only` takes permissions alone, or the data of what is named without them."""
    filled(program_session)
    file = tmp_path / "all.ndjson"
    program("dump", "--output", str(file))
    there = ("--bucket", f"{program_session.bucket}-parts")
    assert program("load", str(file), *there, "--only", "permissions").status == 1
    assert program("load", str(file), *there, "--only", "attributes").err == "4 created\n"
    ran = program("load", str(file), *there, "--only", "groups,records")
    assert (ran.status, ran.err) == (0, "6 created\n")
    copy = program_session.scoped(bucket=there[1], collection="todos")
    assert Record.get("r0", session=copy).permissions.read == set()
    assert program("load", str(file), *there, "--only", "permissions").status == 0
    assert Record.get("r0", session=copy).permissions.read == {"u:0"}
    # Of data such a dump says nothing, so that none is taken away.
    assert program("dump", "--only", "permissions", "--output", str(file)).status == 0
    Record.get("r0", session=copy).permissions.revoke("read", "u:0").save()
    assert program("load", str(file), *there).err == "1 updated, 9 unchanged\n"
    assert Record.get("r0", session=copy)["title"] == "t0"
    nowhere = ("--bucket", f"{program_session.bucket}-nowhere")
    assert program("load", str(file), *nowhere).status == 1


def test_ctrl_c_then_the_same_again(tmp_path: Path) -> None:
    """What was under way is waited for; the second run goes on, and nothing is there twice."""
    server = f"sqlite:///{tmp_path}/x.db"
    lines = ['{"format": "kinto-orm dump", "version": 1, "buckets": ["b"]}']
    lines += [
        '{"uri": "/buckets/b", "data": {}}',
        '{"uri": "/buckets/b/collections/c", "data": {}}',
    ]
    lines += [
        json.dumps({"uri": f"/buckets/b/collections/c/records/r{n}", "data": {"n": n}})
        for n in range(400)
    ]
    whole = [*lines, '{"complete": true, "objects": 402}']
    command = [sys.executable, "-m", "kinto_orm.cli", "load", "-", "--server", server]
    pipe = subprocess.PIPE
    with (
        Session(server, bucket="b", collection="c"),
        subprocess.Popen(command, stdin=pipe, stderr=pipe, text=True) as process,
    ):
        assert process.stdin is not None
        process.stdin.write("\n".join([*lines[:350], ""]))
        process.stdin.flush()
        while not Bucket.get_or_none("b") or Collection.get_or_none("c") is None:
            time.sleep(0.05)
        while Record.find().count() < 100:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
        assert process.returncode == 130
        count = Record.find().count()
        assert said.splitlines() == [
            f"{count + 2} created",
            "run the same command again: it goes on where this one ended",
            "kinto-orm: interrupted",
        ]
    ran = as_process("load", "-", "--server", server, input="\n".join(whole))
    assert (ran.status, ran.err) == (0, f"{400 - count} created, {count + 2} unchanged\n")


def test_a_wrong_password_is_refused(tmp_path: Path) -> None:
    """It ends at once, and is said."""
    file = tmp_path / "all.ndjson"
    file.write_text(
        '{"format": "kinto-orm dump", "version": 1, "buckets": ["b"]}\n'
        '{"uri": "/buckets/b", "data": {}}\n{"complete": true, "objects": 1}\n'
    )
    settings = {"multiauth.policies": "account"}
    settings |= {"multiauth.policy.account.use": "kinto.plugins.accounts.AccountsPolicy"}
    settings["kinto.includes"] = "kinto.plugins.accounts kinto.plugins.default_bucket"
    with open_memory(settings=settings) as embedded, serve(embedded) as served:
        for command in (("load", str(file)), ("dump", "--bucket", "b")):
            ran = in_process(*command, "--server", served.url, "--auth", "eve:secret5")
            assert (ran.status, ran.out) == (1, "")
            assert "secret5" not in ran.err


JSON: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"))
    | st.sampled_from(["", "1", "no", "1e3", "0x1", "~", "- a", "a: b", "#", "2020-01-01", "\x85"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
ROWS = st.lists(st.dictionaries(st.text(max_size=3), JSON, max_size=4), max_size=4)


@pytest.mark.parametrize("kind", ["ndjson", "csv", "parquet", "yaml"])
@settings(max_examples=15)
@given(rows=ROWS)
def test_any_value_comes_back_of_each_format(kind: str, rows: list[dict[str, Any]]) -> None:
    """Whatever its type and its text."""
    data = [{**each, "id": f"{n}"} for n, each in enumerate(rows)]
    collection = path_of("/buckets/b/collections/c")
    written, read = io.BytesIO(), list[Any]()
    if kind in ("csv", "parquet"):
        module = tables if kind == "csv" else columns
        module.write(written, data)
        written.seek(0)
        read += module.entries(written, collection)
    else:
        is_own = kind == "ndjson"
        writer: Any = wizard.Writer(written)
        if is_own:
            writer = ndjson.Writer(written, ["b"], Parts())
        for each in data:
            writer.write(Entry(tables.record_in(collection, str(each["id"])), each))
        writer.close()
        written.seek(0)
        reader: Any = (
            ndjson.Reader(written, cut=False) if kind == "ndjson" else wizard.Reader(written)
        )
        read += [each for each in reader.entries() if each.target.kind == "records"]
    assert [each.data for each in read] == data
    assert repr([in_order(each.data) for each in read]) == repr([in_order(each) for each in data])


def in_order(value: Any) -> Any:
    """With the names of objects in order."""
    if isinstance(value, dict):
        return {name: in_order(value[name]) for name in sorted(value)}
    return [in_order(each) for each in value] if isinstance(value, list) else value
