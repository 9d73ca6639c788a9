"""What is refused leaves no file that was not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from kinto_orm import Record, Session
from kinto_orm.server.sqlite.files import remove_unused
from program import in_process

REFUSED = [
    ("put", "a b", "{}"),
    ("put", "/buckets/b/collections/todos/records/x", '{"id": "y"}'),
    ("put", "/buckets/b/collections/todos/records/x", "{}"),
    ("put", "/buckets/b", "{}", "--permissions", '{"fly": []}'),
    ("kv", "set", "a//b", "1"),
    ("kv", "set", "a", '{"x": 1}', "--bucket", "nosuch"),
    ("kv", "set", "list/-", "1"),
    ("template", "set", "x", "bad.j2"),
    ("load", "bad.ndjson"),
    ("load", "bad.csv"),
    ("load", "bad.csv", "--collection", "todos"),
    ("load", "cut.ndjson"),
    ("load", "bad.yaml"),
    ("load", "bad.parquet", "--collection", "todos"),
    ("schema", "apply", "nosuch:Model"),
    ("cp", "memory://x/buckets/nosuch", "sqlite:///new.db"),
]


@pytest.mark.parametrize("command", REFUSED, ids=" ".join)
def test_no_file_is_left(
    no_profile: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """Neither the database, nor what SQLite has beside it; and it does not say that it made one."""
    monkeypatch.chdir(tmp_path)
    for kind in ("ndjson", "csv", "yaml", "parquet"):
        Path(f"bad.{kind}").write_text("no dump: [\n")
    Path("bad.j2").write_text("{% nosuch %}")
    Path("cut.ndjson").write_text(
        '{"format": "kinto-orm dump", "version": 1, "buckets": ["b"]}\n'
        '{"uri": "/buckets/b", "data": {"id": "b"}}\n'
    )
    before = {each.name for each in tmp_path.iterdir()}
    ran = in_process("--server", "sqlite:///new.db", *command)
    assert ran.status in (1, 2)
    assert ran.err
    assert "made" not in ran.err
    assert {each.name for each in tmp_path.iterdir()} == before


@pytest.mark.parametrize("command", [("kv", "set", "a", "1"), ("put", "/buckets/b", "{}")])
def test_what_is_taken_makes_one(
    no_profile: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """And it stays when something is refused later, or is empty again."""
    monkeypatch.chdir(tmp_path)
    ran = in_process("--server", "sqlite:///new.db", *command)
    assert (ran.status, "made new.db" in ran.err) == (0, True)
    assert in_process("--server", "sqlite:///new.db", "put", "a b", "{}").status == 2
    assert in_process("--server", "sqlite:///new.db", "rm", "/buckets/b", "--yes").status in (0, 1)
    assert Path("new.db").exists()


def test_who_has_it_open_keeps_it(tmp_path: Path) -> None:
    """Nobody loses what is written meanwhile."""
    path = tmp_path / "new.db"
    with Session(f"sqlite:///{path}", collection="todos"):
        assert not remove_unused(path)
    assert remove_unused(path)
    with Session(f"sqlite:///{path}", collection="todos"):
        Record(id="a").save()
    assert not remove_unused(path)
    with Session(f"sqlite:///{path}", collection="todos"):
        assert Record.get("a").id == "a"
    assert not remove_unused(tmp_path / "never.db")
    assert not (tmp_path / "never.db").exists()
