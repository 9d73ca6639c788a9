"""`watch`."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from kinto_orm import Bucket, Record, Session
from program import Run, filled


def test_changes_as_they_come(tmp_path: Path) -> None:
    """What was there is not told; each change is a line at once; Ctrl-C is how it ends."""
    server = f"sqlite:///{tmp_path}/w.db"
    with Session(server, bucket="b", collection="todos") as session:
        Bucket(id="b").save()
        filled(session, {"id": "old"})
        command = [sys.executable, "-m", "kinto_orm.cli", "--server", server, "--bucket", "b"]
        watching = subprocess.Popen(
            [*command, "watch", "todos", "--json", "--interval", "0.1"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={name: os.environ[name] for name in os.environ if name != "PYTHONUNBUFFERED"},
        )
        try:
            assert watching.stdout is not None
            # It says nothing when it begins, so that somebody writes until it is noticed.
            seen = None
            for number in range(1000):
                Record(id=f"n{number}", x=number).save()
                if _is_readable(watching):
                    seen = json.loads(watching.stdout.readline())
                    break
            assert seen is not None
            assert (seen["action"], seen["object"]["id"]) == ("created", seen["id"])
            # Between a line and the note of its place an interrupt leaves the place before.
            time.sleep(0.5)
            watching.send_signal(signal.SIGINT)
            out, err = watching.communicate(timeout=60)
        finally:
            watching.kill()
        last = json.loads(out.splitlines()[-1]) if out else seen
        assert watching.returncode == 0
        assert f"go on with --since '{last['token']}'" in err
        assert "Traceback" not in err


def _is_readable(process: subprocess.Popen[str]) -> bool:
    return bool(select.select([process.stdout], [], [], 0.2)[0])


def test_what_cannot_be_meant(program_session: Session, program: Run) -> None:
    filled(program_session)
    assert program("watch", "todos", "--since", "[1]", "--all").status == 2
    ran = program("watch", "todos", "--since", "nonsense")
    assert (ran.status, "no token" in ran.err) == (2, True)
    assert program("watch", "nothing").status == 1
    assert program("watch", "todos/a").status == 2
