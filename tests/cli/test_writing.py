"""`dump --output`: what stands where the file is to be."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from kinto_orm import Session
from program import Run, filled

KINDS = ("file", "link", "dangling", "pipe")


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_there_stays_what_it_is(
    program_session: Session, program: Run, tmp_path: Path, kind: str
) -> None:
    """A link leads to the same file, a pipe is a pipe, and a file keeps its permissions."""
    filled(program_session, {"id": "a"})
    there, target = tmp_path / "there.ndjson", tmp_path / "target.ndjson"
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(there.read_bytes()), daemon=True)
    if kind == "file":
        target = there
    if kind in ("file", "link"):
        target.write_text("old")
        target.chmod(0o644)
    if kind in ("link", "dangling"):
        there.symlink_to(target)
    if kind == "pipe":
        os.mkfifo(there)
        reader.start()
    assert program("dump", "--output", str(there)).status == 0
    if kind == "pipe":
        reader.join(20)
        assert there.is_fifo()
    else:
        read.append(target.read_bytes())
        assert there.is_symlink() == (kind != "file")
    if kind in ("file", "link"):
        assert target.stat().st_mode & 0o777 == 0o644
    assert b'"complete": true' in read[0]
    assert not list(tmp_path.glob("*.part"))


def test_what_is_read_only_is_refused(
    program_session: Session, program: Run, tmp_path: Path
) -> None:
    """So is a directory; - is standard output."""
    file = tmp_path / "a.ndjson"
    file.write_text("old")
    file.chmod(0o444)
    for path in (file, tmp_path):
        ran = program("dump", "--output", str(path))
        assert (ran.status, "cannot write to" in ran.err) == (2, True)
    assert file.read_text() == "old"
    ran = program("dump", "--output", "-")
    assert (ran.status, '"complete": true' in ran.out) == (0, True)
