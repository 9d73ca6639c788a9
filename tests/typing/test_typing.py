"""What mypy and pyright accept and refuse in programs that use the library."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
FILES = sorted(HERE.glob("accept_*.py")) + sorted(HERE.glob("refuse_*.py"))
MARKER = re.compile(r"# refused: ([a-z ]+)$")

# A file's name and a line of it, counted from 1.
Place = tuple[str, int]


def marked(checker: str) -> set[Place]:
    """The lines that a checker has to refuse."""
    return {
        (file.name, number)
        for file in FILES
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if (found := MARKER.search(line)) and checker in found[1].split()
    }


def run(*command: str) -> str:
    """What a checker prints; 0 and 1 are its statuses when it could do its work."""
    environment = {**os.environ, "MYPYPATH": f"{ROOT / 'src'}{os.pathsep}{HERE}"}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def mypy() -> Iterator[tuple[Place, str]]:
    """Each error of mypy in its strict mode, with Pydantic's plugin."""
    options = ["--output=json", "--follow-imports=silent", "--no-incremental"]
    for line in run("mypy", *options, *map(str, FILES)).splitlines():
        found = json.loads(line)
        if found["severity"] == "error":
            yield (Path(found["file"]).name, found["line"]), found["message"]


def pyright() -> Iterator[tuple[Place, str]]:
    """Each error of pyright in its strict mode."""
    options = ["--outputjson", f"--project={HERE}", f"--pythonpath={sys.executable}"]
    for found in json.loads(run("basedpyright", *options))["generalDiagnostics"]:
        if found["severity"] == "error":
            line = found["range"]["start"]["line"] + 1
            yield (Path(found["file"]).name, line), found["message"]


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_checkers(checker) -> None:
    """Checkers refuse each marked line, and accept every other one."""
    errors = list(checker())
    wanted = marked(checker.__name__)
    assert [error for error in errors if error[0] not in wanted] == []
    assert sorted(wanted - {place for place, _ in errors}) == []
