"""No server: said, and the exit status is 3."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

NOWHERE = "http://127.0.0.1:1/v1"
COMMANDS = (
    ("get", "todos/a"),
    ("rm", "todos/a"),
    ("dump",),
    ("load", "all.ndjson"),
    ("doctor",),
    ("login",),
)


def test_no_server_is_no_answer(tmp_path: Path) -> None:
    """Said without a password. All at once, for each tries for some seconds."""
    (tmp_path / "all.ndjson").write_text(
        '{"format": "kinto-orm dump", "version": 1, "buckets": ["b"]}\n'
        '{"uri": "/buckets/b", "data": {}}\n{"complete": true, "objects": 1}\n'
    )
    profiles = tmp_path / "profiles.toml"
    where = ("--server", NOWHERE, "--auth", "eve:secret5")
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "kinto_orm.cli", *where, *command],
            cwd=tmp_path,
            env={**os.environ, "KINTO_ORM_CONFIG": str(profiles)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for command in COMMANDS
    ]
    for command, process in zip(COMMANDS, running, strict=True):
        said = process.communicate()[0]
        assert process.returncode == 3, command
        assert said.count("the server cannot be reached; it is tried again") == 1
        assert f"no answer from {NOWHERE}" in said
        assert "Traceback" not in said
        assert "secret5" not in said
    assert not profiles.exists()
