"""Import the library: CPU time of a fresh interpreter, beside kinto-http and Pydantic."""

from __future__ import annotations

import resource
import subprocess
import sys

from _both import Goal, show


def cpu_seconds(code: str) -> float:
    """User and system time of an interpreter that runs the code and ends."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


codes = {
    "python alone": "pass",
    "kinto-http and pydantic": "import kinto_http, pydantic",
    "kinto-orm": "import kinto_orm",
}
turns: dict[str, list[float]] = {name: [] for name in codes}
for _ in range(21):
    for name, code in codes.items():
        turns[name].append(cpu_seconds(code))

# The least of many: whatever else runs can only add to it.
least = {name: min(seconds[1:]) for name, seconds in turns.items()}
start = least.pop("python alone")
goal = Goal("kinto-orm", "kinto-http and pydantic", at_most=1.0)
show("import, less the interpreter's own start", {n: s - start for n, s in least.items()}, [goal])
