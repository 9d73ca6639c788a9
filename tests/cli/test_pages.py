"""The pages on dumps and models: each command prints what the page says that it does."""

from __future__ import annotations

import doctest
import re
import shlex
import sys
from pathlib import Path

import pytest

from program import in_process

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(r"^```(python|bash|text)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

TODO = """
from kinto_orm import Record

class Todo(Record, collection="todos"):
    title: str
    done: bool = False
"""


@pytest.mark.usefixtures("no_profile")
@pytest.mark.parametrize("page", ["dumps", "models-from-data"])
def test_commands_print_what_the_page_says(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "todo").mkdir()
    (tmp_path / "todo" / "models.py").write_text(TODO)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    names: dict[str, object] = {}
    printed = ""
    for language, text in _BLOCK.findall((DOCS / f"{page}.md").read_text()):
        if language == "python":
            exec(text, names)
        elif language == "bash":
            printed = "".join(map(run, text.splitlines()))
        elif printed:
            assert doctest.OutputChecker().check_output(text, printed, doctest.ELLIPSIS), printed
            printed = ""
    for name in ("todo", "todo.models"):
        sys.modules.pop(name, None)


def run(line: str) -> str:
    """What a command prints, as one sees it at a terminal."""
    program, *arguments = shlex.split(line)
    assert program == "kinto-orm"
    ran = in_process(*arguments)
    return ran.out + ran.err
