"""Standard output that takes nothing: it is said in a line, and so is what was done by then."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kinto_orm import Bucket, Collection, Record, Session
from program import Ran

FULL = Path("/dev/full")
READING = [
    ("dump",),
    ("watch", "c", "--all"),
    ("load", "d.csv", "--collection", "new", "--dry-run"),
]
WRITING = {
    ("put", "c/x", "{}"): "created /buckets/b/collections/c/records/x",
    ("load", "d.csv", "--collection", "c", "--json"): "1 created",
    ("restore", "c", "BEFORE"): "restored 1",
    ("perms", "c", "--grant", "read=everyone"): "changed",
}
LAST = "kinto-orm: not all of it could be written: "


@pytest.fixture
def before(tmp_path: Path, no_profile: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """A time, after which a record was changed."""
    monkeypatch.chdir(tmp_path)
    Path("d.csv").write_text("id,n\nnew,1\n")
    with Session("sqlite:///k.db", bucket="b", collection="c"):
        Bucket(id="b").save()
        Collection(id="c").save()
        record = Record(id="a", n=1).save()
        found = str(record.last_modified)
        record["n"] = 2
        record.save()
    return found


def run(command: tuple[str, ...], to: str) -> Ran:
    """Run the program with a standard output that takes nothing."""
    if to == "full":
        output = os.open(FULL, os.O_WRONLY)
    else:
        reader, output = os.pipe()
        os.close(reader)
    where = ("--server", "sqlite:///k.db", "--bucket", "b")
    done = subprocess.run(
        [sys.executable, "-m", "kinto_orm.cli", *where, *command],
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=120,
    )
    os.close(output)
    return Ran(done.returncode, "", done.stderr)


@pytest.mark.skipif(not FULL.exists(), reason="there is no device that is full")
@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_what_is_read(before: str, command: tuple[str, ...]) -> None:
    """The last line says why, and there is no other but what the command counts."""
    ran = run(command, "full")
    assert (ran.status, "Traceback" in ran.err) == (1, False)
    *others, last = ran.err.splitlines()
    assert last.startswith(LAST)
    assert others in ([], ["1 created (a dry run: nothing was written)"]) or "load" in command


@pytest.mark.parametrize("to", ["full", "closed"])
@pytest.mark.parametrize("command", WRITING, ids=" ".join)
def test_what_is_written(before: str, command: tuple[str, ...], to: str) -> None:
    """It is done, and said."""
    if to == "full" and not FULL.exists():
        pytest.skip("there is no device that is full")
    ran = run(tuple(before if each == "BEFORE" else each for each in command), to)
    first, *rest = ran.err.splitlines()
    assert first == WRITING[command]
    assert (ran.status, len(rest)) == ((1, 1) if to == "full" else (141, 0))
    assert all(each.startswith(LAST) for each in rest)
    with Session("sqlite:///k.db", bucket="b", collection="c"):
        there = {each.id: each.model_dump().get("n") for each in Record.find()}
        shared = "system.Everyone" in Collection.get("c").permissions.read
    expected = {
        "put": {"a": 2, "x": None},
        "load": {"a": 2, "new": 1},
        "restore": {"a": 1},
        "perms": {"a": 2},
    }
    assert there == expected[command[0]]
    assert shared == (command[0] == "perms")
