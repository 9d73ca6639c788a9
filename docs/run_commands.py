"""Run the commands of command-line.md, and write what they print into it.

Each line of a `text` block that begins with `$ ` is a command; what follows it, up to the next one
or the end of the block, is what it printed. To add a command, write its line and run this. The
first is `kinto-orm serve`: the others ask the server that it starts. What differs each time is
masked.

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
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from typer.testing import CliRunner

from kinto_orm.cli.app import app

PAGE = Path(__file__).resolve().parent / "command-line.md"
SERVER = "http://127.0.0.1:8888"  # as the page has it
HOME = "/home/ada"
_PROMPT = "$ "
_LAST_LINE = "Ctrl-C ends it."

_BLOCK = re.compile(r"(?<=^```text\n)\$ .*?(?=^```$)", re.MULTILINE | re.DOTALL)
_MASKS = (
    (r"\b[0-9a-f]{64}\b", "3f0c5d17…"),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "0d9e5a6a-1fc9-…"),
    (r"\b1[789]\d{11}\b", "1795984672591"),
    (
        r"\b20[2-9]\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)?",
        "2026-11-29T20:37:52.591Z",
    ),
    (r"(?<=round trip: )\d+(?= ms)", "4"),
    (r"(?<=of )\d+(?= writes was lost)", "6"),
    (r"(?<=of )\d+(?= objects all came)", "114"),
    (r"\b26\.\d+\.\d+\b", "26.5.0"),
)


class Shell:
    """As much of a shell as the page needs: pipes, and `>`, `<`, echo, cat.

    Args:
        server: The address of the server that stands for the page's.
    """

    def __init__(self, server: str) -> None:
        self.server = server

    def run(self, line: str) -> str:
        """All that a line prints, errors too, as the page shows it."""
        words = shlex.split(line.replace(SERVER, self.server).replace("\\\n", " "))
        *before, last = _split(words, "|")
        given: str | None = None
        for each in before:
            given, _ = self._call(each, given)
        command, *file = _split(last, ">")
        output, shown = self._call(command, given)
        if file:
            Path(file[0][0]).write_text(output)
            shown = ""
        return self.masked(shown)

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
            raise LookupError(f"the page runs {name!r}, which docs/run_commands.py does not know")
        ran = CliRunner().invoke(app, arguments, input=given, prog_name="kinto-orm")
        if ran.exception and not isinstance(ran.exception, SystemExit):
            raise ran.exception
        return ran.stdout, ran.output


def _split(words: list[str], at: str) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for word in words:
        if word == at:
            found.append([])
        else:
            found[-1].append(word)
    return found


@contextlib.contextmanager
def served(line: str) -> Iterator[tuple[str, str]]:
    """Run `kinto-orm serve` on a free port: what it prints, and the address of the server."""
    words = [*shlex.split(line)[1:], "--port", "0"]
    command = [sys.executable, "-m", "kinto_orm.cli", *words]
    path = os.pathsep.join(filter(None, sys.path))
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as process:
        printed = ""
        try:
            assert process.stdout
            while not printed.endswith(f"{_LAST_LINE}\n"):
                printed += (line := process.stdout.readline())
                if not line:
                    raise RuntimeError(f"the server has ended; it said: {printed}")
            found = re.search(r"http://127\.0\.0\.1:\d+", printed)
            assert found
            yield printed, found[0]
        finally:
            process.send_signal(signal.SIGINT)


def rewritten(text: str) -> str:
    """The page with what its commands print now."""
    commands = [command for block in _BLOCK.findall(text) for command in _commands(block)]
    with (
        tempfile.TemporaryDirectory(prefix="kinto-orm-page-") as home,
        contextlib.chdir(home),
        mock.patch.dict(os.environ, KINTO_ORM_CONFIG=f"{home}/kinto-orm.toml", COLUMNS="80"),
        served(commands[0]) as (printed, address),
    ):
        for name in ("KINTO_ORM_SERVER", "KINTO_ORM_AUTH"):
            os.environ.pop(name, None)
        shell = Shell(address)
        outputs = iter([shell.masked(printed), *map(shell.run, commands[1:])])
        return _BLOCK.sub(
            lambda block: "".join(
                f"{_PROMPT}{command}\n{_ended(next(outputs))}" for command in _commands(block[0])
            ),
            text,
        )


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"


def _commands(block: str) -> list[str]:
    """The commands of a block; one that ends in a backslash goes on in the next line."""
    joined = block.replace("\\\n", "\\\0")
    lines = [each for each in joined.splitlines() if each.startswith(_PROMPT)]
    return [each.removeprefix(_PROMPT).replace("\\\0", "\\\n") for each in lines]


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text()))
