"""Run the commands of the pages on the command line, and write what they print into them.

Each line of a `text` block that begins with `$ ` is a command; what follows it, up to the next one
or the end of the block, is what it printed. To add a command, write its line and run this. Python
blocks are run, too, where they stand. What differs each time is masked.

    python docs/run_commands.py
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from typer.testing import CliRunner

from kinto_orm.cli.app import app

DOCS = Path(__file__).resolve().parent
PAGES = tuple(DOCS / f"{name}.md" for name in ("command-line", "dumps", "models-from-data"))
SERVER = "http://127.0.0.1:8888"  # as the pages have it
HOME = "/home/ada"
_PROMPT = "$ "
_LAST_LINE = "Ctrl-C ends it."

_BLOCK = re.compile(r"(?<=^```)(python|text)\n(.*?)(?=^```$)", re.MULTILINE | re.DOTALL)
_NOW = re.compile(r"(\w+)=\$\(date \+%s%3N\)")
_MASKS = (
    (r"\b[0-9a-f]{64}\b", "3f0c5d17…"),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "0d9e5a6a-1fc9-…"),
    (r"\b1[789]\d{11}\b", "1795984672591"),
    (
        r"\b20[2-9]\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)?",
        "2026-11-29T20:37:52.591Z",
    ),
    (r"(?<=--since ')\S+(?=')", "[1795984672591,…]"),
    (r"(?<=round trip: )\d+(?= ms)", "4"),
    (r"(?<=of )\d+(?= writes was lost)", "6"),
    (r"(?<=of )\d+(?= objects all came)", "114"),
    (r"\b26\.\d+\.\d+\b", "26.5.0"),
)


class Shell:
    """As much of a shell as the pages need: pipes, `>`, `<`, `&`, echo, cat, and the time."""

    def __init__(self) -> None:
        self.server = SERVER
        self._variables: dict[str, str] = {}
        self._job: subprocess.Popen[str] | None = None
        self._open = contextlib.ExitStack()

    @contextlib.contextmanager
    def opened(self) -> Iterator[Shell]:
        """End at the end what was begun."""
        with self._open:
            yield self

    def run(self, line: str) -> str:
        """All that a line prints, errors too, as the page shows it."""
        if noted := _NOW.fullmatch(line):
            self._variables[noted[1]] = str(time.time_ns() // 1_000_000)
            return ""
        for name, value in self._variables.items():
            line = line.replace(f"${name}", value)
        words = shlex.split(line.replace(SERVER, self.server).replace("\\\n", " "))
        if words[:2] == ["kinto-orm", "serve"]:
            return self.masked(self._serve(words[1:]))
        if words[0] == "kill":
            return self.masked(self._kill())
        if words[-1] == "&":
            self._begin(words[1:-1])
            shown = ""
        else:
            shown = self._piped(words)
        # Of what goes on beside it, a line is seen after each command.
        return self.masked(shown + (_line_of(self._job) if self._job else ""))

    def _piped(self, words: list[str]) -> str:
        *before, last = _split(words, "|")
        given: str | None = None
        for each in before:
            given, _ = self._call(each, given)
        command, *file = _split(last, ">")
        output, shown = self._call(command, given)
        if not file:
            return shown
        Path(file[0][0]).write_text(output)
        return ""

    def masked(self, text: str) -> str:
        """What is printed, without what differs each time."""
        text = text.replace(self.server, SERVER).replace(str(Path.cwd()), HOME)
        for pattern, written in _MASKS:
            text = re.sub(pattern, written, text)
        return text

    def _call(self, words: list[str], given: str | None) -> tuple[str, str]:
        """Run one command: its output, and all that it shows."""
        if "<" in words:
            place = words.index("<")
            given, words = Path(words[place + 1]).read_text(), words[:place]
        name, *arguments = words
        if name == "echo":
            return (text := " ".join(arguments) + "\n"), text
        if name == "cat":
            return (text := Path(arguments[0]).read_text()), text
        if name != "kinto-orm":
            raise LookupError(f"a page runs {name!r}, which docs/run_commands.py does not know")
        ran = CliRunner().invoke(app, arguments, input=given, prog_name="kinto-orm")
        if ran.exception and not isinstance(ran.exception, SystemExit):
            raise ran.exception
        return ran.stdout, ran.output

    def _begin(self, arguments: list[str]) -> subprocess.Popen[str]:
        """Begin a command that goes on beside the others; it is ended at the latest at the end."""
        job = subprocess.Popen(
            [sys.executable, "-m", "kinto_orm.cli", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        self._open.callback(_ended, job)
        self._job = job
        return job

    def _kill(self) -> str:
        """Interrupt what was begun: what it says of that."""
        assert self._job
        job, self._job = self._job, None
        return _ended(job)

    def _serve(self, arguments: list[str]) -> str:
        """Run `kinto-orm serve` on a free port: what it prints."""
        server, self._job = self._begin([*arguments, "--port", "0"]), None
        printed = ""
        while not printed.endswith(f"{_LAST_LINE}\n"):
            printed += _line_of(server)
        found = re.search(r"http://127\.0\.0\.1:\d+", printed)
        assert found
        self.server = found[0]
        return printed


def _line_of(job: subprocess.Popen[str]) -> str:
    assert job.stdout
    line = job.stdout.readline()
    if not line:
        raise RuntimeError(f"{shlex.join(map(str, job.args))} has ended")  # type: ignore[arg-type]
    return line


def _ended(job: subprocess.Popen[str]) -> str:
    """Interrupt a process, once: what it says of that."""
    if job.poll() is None:
        job.send_signal(signal.SIGINT)
        return job.communicate()[0]
    return ""


def _split(words: list[str], at: str) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for word in words:
        if word == at:
            found.append([])
        else:
            found[-1].append(word)
    return found


def rewritten(text: str) -> str:
    """A page with what its commands print now."""
    names: dict[str, object] = {}
    with _home(), Shell().opened() as shell:

        def run(block: re.Match[str]) -> str:
            language, written = block.groups()
            if language == "python":
                exec(written, names)
            if not written.startswith(_PROMPT):
                return block[0]
            ran = (f"{_PROMPT}{each}\n{_closed(shell.run(each))}" for each in _commands(written))
            return f"{language}\n{''.join(ran)}"

        return _BLOCK.sub(run, text)


@contextlib.contextmanager
def _home() -> Iterator[None]:
    """An empty directory, with no profile and no server; what is imported from it is forgotten."""
    with (
        tempfile.TemporaryDirectory(prefix="kinto-orm-page-") as home,
        contextlib.chdir(home),
        mock.patch.dict(os.environ, KINTO_ORM_CONFIG=f"{home}/kinto-orm.toml", COLUMNS="80"),
        mock.patch.object(sys, "path", [*sys.path]),
    ):
        for name in ("KINTO_ORM_SERVER", "KINTO_ORM_AUTH"):
            os.environ.pop(name, None)
        yield
        here = str(Path.cwd())
        for name, module in [*sys.modules.items()]:
            if (getattr(module, "__file__", None) or "").startswith(here):
                del sys.modules[name]


def _closed(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"


def _commands(block: str) -> list[str]:
    """The commands of a block; one that ends in a backslash goes on in the next line."""
    joined = block.replace("\\\n", "\\\0")
    lines = [each for each in joined.splitlines() if each.startswith(_PROMPT)]
    return [each.removeprefix(_PROMPT).replace("\\\0", "\\\n") for each in lines]


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(rewritten(page.read_text()))
