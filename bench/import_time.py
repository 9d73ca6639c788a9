"""Import the library: CPU time of a fresh interpreter, beside kinto-http and Pydantic."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile

from _both import Goal, show


def cpu_seconds(code: str, compiled: str) -> float:
    """User and system time of an interpreter that runs the code and ends.

    Its compiled modules are kept in a directory of their own, so that every side has them.
    """
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


codes = {
    "python alone": "pass",
    "kinto-http and pydantic": "import kinto_http, pydantic",
    "kinto-orm": "import kinto_orm",
    # Pydantic loads itself when it is first used: what a program pays in the end.
    "kinto-http and a model": "from kinto_http import Client; from pydantic import BaseModel\n"
    "class Todo(BaseModel): title: str",
    "kinto-orm and a model": "from kinto_orm import Record, Session\n"
    "class Todo(Record): title: str",
}
turns: dict[str, list[float]] = {name: [] for name in codes}
with tempfile.TemporaryDirectory() as compiled:
    for _ in range(16):
        for name, code in codes.items():
            turns[name].append(cpu_seconds(code, compiled))

# The least of many: whatever else runs can only add to it. The first one compiles.
least = {name: min(seconds[1:]) for name, seconds in turns.items()}
start = least.pop("python alone")
show(
    "import, less the interpreter's own start",
    {name: seconds - start for name, seconds in least.items()},
    [
        Goal("kinto-orm", "kinto-http and pydantic", at_most=1.0),
        Goal("kinto-orm and a model", "kinto-http and a model", at_most=1.0),
    ],
)
