"""`load`: nothing of a file is lost in silence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kinto_orm import Record, Session
from program import Run, filled


def test_large_integers_are_exact_or_refused(
    program_session: Session, program: Run, tmp_path: Path
) -> None:
    scope = filled(program_session)
    exact = [-(2**63), 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 1, 10**22]
    lost = [2**64 + 1, -(2**63) - 1, 10**400]
    file = tmp_path / "n.csv"
    file.write_text("id,n\n" + "".join(f"r{i},{n}\n" for i, n in enumerate([*exact, *lost])))
    for expected in ("6 created", "6 unchanged"):
        ran = program("load", str(file), "--collection", "todos")
        assert (ran.status, expected in ran.err, "too large" in ran.err) == (1, True, True)
        assert "3 failed" in ran.err
    there = {each.id: each["n"] for each in scope.find(Record)}
    assert there == {f"r{i}": n for i, n in enumerate(exact)}
    lines = [json.loads(each) for each in program("find", "todos", "--json").out.splitlines()]
    assert {each["id"]: each["n"] for each in lines} == {f"r{i}": n for i, n in enumerate(exact)}


@pytest.mark.parametrize("kind", ["csv", "yaml", "parquet", "ndjson"])
def test_what_is_missing_of_a_file_that_may_be_cut(
    program_session: Session, program: Run, tmp_path: Path, kind: str
) -> None:
    """It is deleted when the file's end, or the user, says that it is whole."""
    scope = filled(program_session, {"id": "a"})
    file, into = tmp_path / f"x.{kind}", ("--collection", "todos")
    assert program("dump", "todos", "--output", str(file)).status == 0
    Record(id="b").save(session=scope)
    if kind == "yaml":
        whole = file.read_text()
        file.write_text("\n".join(whole.splitlines()[:-1]))
    if kind in ("csv", "yaml"):
        ran = program("load", str(file), *into, "--delete-missing")
        assert (ran.status, "--whole" in ran.err, scope.find(Record).count()) == (2, True, 2)
    if kind == "yaml":
        file.write_text(whole)
    own = ["--whole"] if kind == "csv" else []
    ran = program("load", str(file), *into, "--delete-missing", *own)
    if kind != "yaml":  # which does not say that a collection has no more records
        assert (ran.status, "1 deleted" in ran.err) == (0, True), ran.err
        assert [each.id for each in scope.find(Record)] == ["a"]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_an_empty_table_empties_the_collection(
    program_session: Session, program: Run, tmp_path: Path, kind: str
) -> None:
    scope = filled(program_session)
    file = tmp_path / f"x.{kind}"
    assert program("dump", "todos", "--output", str(file)).status == 0
    Record(id="b").save(session=scope)
    ran = program("load", str(file), "--collection", "todos", "--delete-missing", "--whole")
    assert (ran.status, ran.err, scope.find(Record).count()) == (0, "1 deleted\n", 0)


def test_nothing_is_made_of_a_file_that_is_refused(
    program_session: Session, program: Run, tmp_path: Path
) -> None:
    file = tmp_path / "x.csv"
    file.write_text("name,n\na,1\n")
    assert program("load", str(file), "--collection", "fresh").status == 1
    assert program("get", "fresh").status == 1


def test_what_stands_twice_or_is_not_known_is_named(program: Run, tmp_path: Path) -> None:
    """With its line; in silence one of two would be lost."""
    file, tree = tmp_path / "x.csv", tmp_path / "x.yaml"
    file.write_text("id,n\na,1\nb,1\na,2\n")
    ran = program("load", str(file), "--collection", "todos")
    assert (ran.status, "line 4: the id 'a' stands in line 2, too" in ran.err) == (1, True)
    begin = "buckets:\n  x:\n    collections:\n      c:\n"
    for wrong, said in (
        ("        title: x\n", "line 5: /buckets/x/collections/c: 'title' is no part of it"),
        ("        data: {a: 1}\n        data: {a: 2}\n", "'data' stands twice"),
        ("        data: {a: 1, a: 2}\n", "line 5"),
    ):
        tree.write_text(begin + wrong)
        ran = program("load", str(tree))
        assert (ran.status, said in ran.err) == (1, True), ran.err
