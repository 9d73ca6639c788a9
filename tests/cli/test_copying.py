"""`cp` and `mv`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from requests import PreparedRequest
from requests.auth import HTTPBasicAuth

from kinto_orm import (
    Bucket,
    Collection,
    Everyone,
    Group,
    NotFound,
    Query,
    Record,
    Session,
)
from kinto_orm.cli.addresses import parted
from kinto_orm.cli.targets import target_of
from kinto_orm.cli.transfer import Transfer
from program import Run, as_process, filled, in_process

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}


def ids(scope: Session, collection: str = "todos") -> list[str]:
    return [each.id for each in scope.scoped(collection=collection).find(Record)]


@pytest.fixture
def full(program_session: Session) -> Session:
    """A bucket with attributes, a group, a schema, records and permissions."""
    filled(program_session, *({"id": f"r{n}", "n": n} for n in range(7)))
    collection = program_session.get(Collection, "todos")
    collection["schema"], collection["note"] = SCHEMA, "x"
    group = f"/buckets/{program_session.bucket}/groups/g"
    collection.permissions.grant("read", group)
    collection.save()
    Group(id="g", members=["account:ada"]).save(session=program_session)
    scope = program_session.scoped(collection="todos")
    record = scope.get(Record, "r1")
    record.permissions.grant("read", Everyone).save()
    record["n"] = 11
    record.save()
    return program_session


def test_a_collection(full: Session, program: Run) -> None:
    """Its attributes, its schema, its records and all permissions; and again: nothing to do."""
    ran = program("cp", "todos", "copy")
    assert (ran.status, ran.out, "8 copied" in ran.err) == (0, "", True)
    copy = full.get(Collection, "copy")
    assert (copy.json_schema, copy["note"]) == (SCHEMA, "x")
    assert copy.permissions.read == full.get(Collection, "todos").permissions.read
    assert ids(full, "copy") == ids(full)
    assert full.scoped(collection="copy").get(Record, "r1").permissions.read == {Everyone}
    assert "8 there already" in program("cp", "todos", "copy").err


def test_what_is_there_stays(full: Session, program: Run) -> None:
    """What differs is not overwritten without --force; the rest is copied."""
    scope = filled(full, {"id": "r2", "n": 99}, collection="copy")
    collection = full.get(Collection, "copy")
    collection["note"] = "theirs"
    collection.save()
    ran = program("cp", "todos", "copy")
    assert (ran.status, "note" in ran.err, ids(full, "copy")) == (1, True, ["r2"])
    plural = f"/buckets/{full.bucket}/collections/todos/records"
    ran = program("cp", plural, "copy/r9")
    assert ran.status == 2
    ran = program("cp", plural, "copy")
    assert (ran.status, "Different there: n" in ran.err) == (1, True)
    assert "6 copied, 1 failed" in ran.err
    assert scope.get(Record, "r2")["n"] == 99
    assert program("cp", "todos", "copy", "--force").status == 0
    assert (scope.get(Record, "r2")["n"], full.get(Collection, "copy")["note"]) == (2, "x")


def test_permissions_of_what_is_there(full: Session, program: Run) -> None:
    """Equal data with fewer permissions is no copy."""
    program("cp", "todos", "copy", "--no-permissions")
    copy = full.scoped(collection="copy")
    assert Everyone not in copy.get(Record, "r1").permissions.read
    ran = program("cp", "todos/r1", "copy")
    assert (ran.status, "Different there: permissions" in ran.err) == (1, True)
    assert program("cp", "todos/r1", "copy", "--force").status == 0
    assert copy.get(Record, "r1").permissions.read == {Everyone}


def test_single_objects(full: Session, program: Run) -> None:
    Collection(id="other").save(session=full)
    other = full.scoped(collection="other")
    assert program("cp", "todos/r1", "other").status == 0
    assert program("cp", "todos/r1", "other/x").status == 0
    assert {each.id: each["n"] for each in other.find(Record)} == {"r1": 11, "x": 11}
    bucket = f"/buckets/{full.bucket}"
    assert program("cp", f"{bucket}/groups/g", f"{bucket}/groups/h").status == 0
    assert full.get(Group, "h").members == ["account:ada"]
    assert program("cp", "todos/nothing", "other").status == 1
    assert program("cp", "todos/r1", "nowhere").status == 1


def test_a_bucket_with_its_groups(full: Session, program: Run) -> None:
    """Its groups' principals become those of the copy."""
    copy = f"{full.bucket}-copy"
    assert program("cp", f"/buckets/{full.bucket}", f"/buckets/{copy}").status == 0
    there = full.scoped(bucket=copy)
    assert there.get(Collection, "todos").permissions.read == {f"/buckets/{copy}/groups/g"}
    assert (len(ids(there)), there.get(Group, "g").members) == (7, ["account:ada"])


def test_between_servers(full: Session, program: Run, tmp_path: Path) -> None:
    """A server alone means the same path there; its bucket is made."""
    server = f"sqlite:///{tmp_path}/y.db"
    assert program("cp", "todos", server).status == 0
    with Session(server, bucket=full.bucket) as there:
        assert len(ids(there)) == 7
        assert there.get(Collection, "todos").json_schema == SCHEMA
        assert there.scoped(collection="todos").get(Record, "r1").permissions.read == {Everyone}
    path = f"{server}/buckets/{full.bucket}/collections/todos"
    assert program("cp", path, "back").status == 0
    assert ids(full, "back") == ids(full)
    assert program("cp", server, "back").status == 2


def test_moving(full: Session, program: Run) -> None:
    ran = program("mv", "todos", "moved")
    assert ran.status == 0
    assert "8 copied, 8 deleted where they were" in ran.err
    assert len(ids(full, "moved")) == 7
    assert Collection.get_or_none("todos", session=full) is None


@pytest.mark.parametrize(
    ("what", "place"),
    [
        ("", "beside"),
        ("", "another server"),
        ("/groups/g", "beside"),
        ("/collections/todos", "another bucket"),
        ("/collections/todos/records/r1", "beside"),
    ],
)
def test_moving_by_a_whole_path(
    full: Session, program: Run, backend: Any, tmp_path: Path, what: str, place: str
) -> None:
    """Whatever the bucket of the session; and nothing is left where it was."""
    bucket, copy = f"/buckets/{full.bucket}", f"/buckets/{full.bucket}-2"
    where = ("--server", backend.url)
    source, other = f"{bucket}{what}", f"sqlite:///{tmp_path}/y.db"
    to = f"{source}-2" if what else copy
    if place == "another server":
        to = other
    elif place == "another bucket" and what:
        to = f"{copy}{what}"
        assert in_process(*where, "put", copy, "{}").status == 0
    ran = in_process(*where, "mv", source, to)
    assert (ran.status, "deleted where they were" in ran.err) == (0, True), ran.err
    gone = in_process(*where, "get", source)
    assert gone.status == 1
    there = ("--server", other, "get", source) if to == other else (*where, "get", to)
    assert in_process(*there).status == 0


def test_moving_leaves_what_is_not_copied(full: Session, program: Run) -> None:
    """A record that differs there stays here, and so does the collection."""
    filled(full, {"id": "r2", "n": 99}, collection="moved")
    plural = f"/buckets/{full.bucket}/collections/todos/records"
    ran = program("mv", plural, "moved")
    assert (ran.status, ids(full)) == (1, ["r2"])
    full.scoped(collection="moved").get(Record, "r2").delete()
    assert program("mv", plural, "moved").status == 0
    assert (ids(full), len(ids(full, "moved"))) == ([], 7)


class Meddling(HTTPBasicAuth):
    """Credentials that do something the first time that a batch is sent."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__("somebody", "x")
        self._acts = [act]

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        if "/batch" in str(request.url) and self._acts:
            self._acts.pop()()
        return super().__call__(request)


def test_moving_leaves_what_was_changed_meanwhile(full: Session, backend: Any) -> None:
    """What somebody writes between the copy and the deletion is not deleted."""
    scope = full.scoped(collection="todos")

    def write() -> None:
        scope.get(Record, "r3").assign(n=33).save()
        Record(id="new").save(session=scope)

    with backend.session(bucket=backend.new_id(), auth=Meddling(write)) as to:
        Bucket(id=to.bucket).save(session=to)
        transfer = Transfer(full, to, move=True)
        source = target_of("todos", full)
        transfer.all(source, target_of("todos", to))
        assert len(ids(to)) == 7
    assert (transfer.counts.status, ids(full)) == (1, ["new", "r3"])
    assert scope.get(Record, "r3")["n"] == 33


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_moving_onto_itself_deletes_nothing(
    full: Session, program: Run, backend: Any, force: list[str]
) -> None:
    """Neither by the same name nor by another address of the same server."""
    path = f"/buckets/{full.bucket}/collections/todos"
    assert program("mv", "todos", path, *force).status == 2
    if backend.name == "memory":
        return
    ran = program("mv", "todos", f"{backend.url}{path}", "--to-auth", "me:x", *force)
    assert ran.status in (1, 2)
    assert len(ids(full)) == 7


def test_wrong_addresses(full: Session, program: Run) -> None:
    bucket = f"/buckets/{full.bucket}"
    for source, to in (("todos/r1", bucket), (bucket, "todos"), ("todos", "todos")):
        assert program("cp", source, to).status == 2
    ran = program("cp", "todos", "https://ada:s3cret@127.0.0.1:1/v1")
    assert (ran.status, "no answer" in ran.err) == (3, True)
    assert "s3cret" not in ran.err + ran.out


@pytest.mark.parametrize(
    ("url", "server", "target"),
    [
        ("https://a/v1/buckets/x/collections/y", "https://a/v1", "/buckets/x/collections/y"),
        ("https://a/v1", "https://a/v1", "None"),
        ("https://a/v1/buckets", "https://a/v1", "/buckets"),
        ("sqlite:///y.db/buckets/x", "sqlite:///y.db", "/buckets/x"),
        ("sqlite:////home/buckets/y/z.db", "sqlite:////home/buckets/y/z.db", "None"),
        (
            "sqlite:////buckets/z.db/buckets/x/collections/buckets",
            "sqlite:////buckets/z.db",
            "/buckets/x/collections/buckets",
        ),
        ("https://buckets/v1/buckets/x", "https://buckets/v1", "/buckets/x"),
    ],
)
def test_parts_of_a_url(url: str, server: str, target: str) -> None:
    found = parted(url)
    assert (found[0], str(found[1])) == (server, target)


def test_credentials_of_another_server(tmp_path: Path) -> None:
    """Those of --auth go to the server of --server only."""
    one, two = f"sqlite:///{tmp_path}/1.db", f"sqlite:///{tmp_path}/2.db"
    in_process("--server", one, "--auth", "ada:x", "put", "/buckets/b", "{}")
    ran = as_process(
        "cp", "/buckets/b", two, "--server", one, "--auth", "ada:x", "--to-auth", "bob:y"
    )
    assert (ran.status, ran.out) == (0, "")
    told = in_process("--server", two, "--auth", "bob:y", "perms", "/buckets/b", "--json")
    with Session(two, auth="bob:y") as session:
        me = session.account().id
    assert me in json.loads(told.out)["write"]
    assert in_process("--server", two, "get", "/buckets/b").status == 1


def test_many_records(program_session: Session, program: Run) -> None:
    """More than are copied at once."""
    filled(program_session)
    scope = program_session.scoped(collection="todos")
    scope.save_all(Record(id=f"r{n:04}") for n in range(110))
    assert program("cp", "todos", "copy", "--no-permissions").status == 0
    assert "111 deleted" in program("mv", "todos", "copy").err
    assert len(ids(program_session, "copy")) == 110


def test_interrupted(tmp_path: Path) -> None:
    """Ctrl-C in the middle ends with 130; the same command goes on, and all is there."""
    server = f"sqlite:///{tmp_path}/k.db"
    with Session(server, bucket="b") as session:
        Bucket(id="b").save()
        scope = filled(session)
        scope.save_all(Record(id=f"r{n:04}", n=n) for n in range(400))
        command = [sys.executable, "-m", "kinto_orm.cli", "--server", server, "--bucket", "b"]
        copying = subprocess.Popen(
            [*command, "cp", "todos", "copy"], stderr=subprocess.PIPE, text=True
        )
        there = Collection(id="copy", bucket="b").records.find()
        try:
            while copying.poll() is None and not _count(there):
                time.sleep(0.05)
            copying.send_signal(signal.SIGINT)
            _, err = copying.communicate(timeout=120)
        finally:
            copying.kill()
        assert (copying.returncode, "Traceback" in err) == (130, False)
        assert "the same command goes on" in err
        assert f"{there.count() + 1} copied" in err
        assert in_process(*command[3:], "cp", "todos", "copy", "--no-permissions").status == 0
        assert there.count() == 400


def _count(found: Query[Record]) -> int:
    try:
        return found.count()
    except NotFound:
        return 0
