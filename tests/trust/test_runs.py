"""A run of the matrix that was stopped goes on, and two of them make one table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trust.__main__ import main
from trust.faces import FACES
from trust.runs import earlier, left
from trust.table import BEGIN, END


def cell(operation: str, session: str, number: int = 1, *, wrong: bool = False) -> dict[str, Any]:
    return {
        "cell": f"{operation}:closed:{number}",
        "session": session,
        "operation": operation,
        "fault": "closed",
        "group": "no answer",
        "number": number,
        "error": "",
        "requests": 2,
        "plain": 1,
        "seconds": 0.1,
        "wrong": ["lost"] if wrong else [],
    }


def file_of(path: Path, *cells: dict[str, Any]) -> Path:
    path.write_text(json.dumps(cells))
    return path


def test_a_row_is_that_of_the_first_file_and_is_not_run_again(tmp_path: Path) -> None:
    """Of a row that is in two files no cell counts twice."""
    one = file_of(tmp_path / "1", cell("get", "Session"), cell("get", "Session", 2))
    two = file_of(tmp_path / "2", cell("get", "Session", wrong=True), cell("save", "Session"))
    found = earlier([one, two])
    assert sorted((each["operation"], each["number"]) for each in found) == [
        ("get", 1),
        ("get", 2),
        ("save", 1),
    ]
    assert not any(each["wrong"] for each in found)
    rows = [("get", "Session"), ("get", "AsyncSession"), ("save", "Session")]
    assert left(rows, found) == [("get", "AsyncSession")]


def test_two_runs_become_one_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is left to be run; the page and the file have the cells of both."""
    first, second = FACES
    one = file_of(tmp_path / "1", cell("get", first), cell("delete", first))
    two = file_of(tmp_path / "2", cell("get", second), cell("delete", second, wrong=True))
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    files = ["--with", str(one), str(two), "--json", str(tmp_path / "all"), "--write", str(page)]
    with pytest.raises(SystemExit) as ended:
        main(["--operations", "get", "delete", *files])
    assert ended.value.code == 1
    assert "1 of 4 cells are WRONG" in capsys.readouterr().out
    text = page.read_text()
    assert "| get | 0 of 2 |" in text
    assert "| delete | 1 of 2 |" in text
    assert "old" not in text
    assert len(earlier([tmp_path / "all"])) == 4
