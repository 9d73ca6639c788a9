"""The matrix as tables for people, and the place in a page of documentation where they stand."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

from trust.faults import FAULTS, GROUPS
from trust.operations import OPERATIONS

Entry = Mapping[str, object]

BEGIN, END = "<!-- matrix: begin -->", "<!-- matrix: end -->"
_NOTES = {
    "no answer": "refused, closed, reset or silent, once or lasting; answers in drops",
    "answer lost": "done, then closed, reset, silent, cut off, garbled, 502, 503, 504, 500",
    "busy": "not done: 503, 409, 429, 502, 504, 500, once or lasting",
    "another's page": "not done: HTML 200, empty, other JSON, 201, 202, 204, 304, redirects",
    "wrong shape": "not done: data of other types, another object's data, bytes that are no HTTP",
    "batch items": "items without status, body or headers, too few, too many, somebody else's",
    "root page": "settings, capabilities and user of other types",
    "refused": "400, 401, 403, 404, 405, 410, 412, 413 by Kinto and by gateways",
    "good answers": "Backoff, odd ETags, slow",
    "old answer": "the answer to an earlier request of the same method and path",
    "cancelled": "the task is cancelled while it waits for the answer; done, and not done",
    "another equal": "another writer writes the same before the program knows",
    "another data": "another writer writes the same data, without the permissions",
    "another different": "another writer writes something else",
    "another deleted": "another writer deletes the object",
}


def lines(entries: Sequence[Entry]) -> Iterator[str]:
    """All tables, in Markdown."""
    wrong = sum(1 for each in entries if each["wrong"])
    yield f"{len(entries):,} cells{_shares(entries)}, {wrong} of them WRONG."
    yield ""
    yield from _groups(entries)
    yield ""
    yield from _operations(entries)
    yield ""
    yield from _excused()


def _sessions(entries: Sequence[Entry]) -> list[str]:
    return sorted({str(each["session"]) for each in entries}, reverse=True)


def _shares(entries: Sequence[Entry]) -> str:
    """How many cells are on which session, when there is more than one."""
    counts = Counter(str(each["session"]) for each in entries)
    shares = [f"{counts[each]:,} on {each}" for each in _sessions(entries)]
    return f" ({', '.join(shares)})" if len(shares) > 1 else ""


def write(page: Path, entries: Sequence[Entry]) -> None:
    """Put the tables between the two marks of a page."""
    text = page.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    page.write_text("\n".join([before + BEGIN, "", *lines(entries), "", END + after]))


def _groups(entries: Sequence[Entry]) -> Iterator[str]:
    """What one fault of each kind costs."""
    numbers = ("cells", "done all the same", "requests more", "seconds", "WRONG")
    yield from _head(("faults", "what", "session", *numbers))
    plain = _requests_without_fault(entries)
    for group, session in product(GROUPS, _sessions(entries)):
        cells = [e for e in entries if (e["group"], e["session"]) == (group, session)]
        if not cells:
            continue
        more = [int(str(e["requests"])) - plain.get(str(e["operation"]), 0) for e in cells]
        seconds = [float(str(each["seconds"])) for each in cells]
        done = sum(1 for each in cells if not each["error"]) / len(cells)
        kinds = sum(1 for each in FAULTS if each.group == group)
        yield _row(
            f"{group} ({kinds})",
            _NOTES[group],
            session,
            len(cells),
            f"{done:.0%}",
            f"{statistics.median(more):.0f}, at most {max(*more, 0)}",
            f"{statistics.median(seconds):.1f}, at most {max(seconds):.1f}",
            sum(1 for each in cells if each["wrong"]),
        )


def _requests_without_fault(entries: Sequence[Entry]) -> dict[str, int]:
    return {str(each["operation"]): int(str(each["plain"])) for each in entries}


def _operations(entries: Sequence[Entry]) -> Iterator[str]:
    """The number of WRONG cells, of how many."""
    groups = [group for group in GROUPS if any(each["group"] == group for each in entries)]
    yield from _head(("operation", *groups))
    for operation in OPERATIONS:
        cells = [each for each in entries if each["operation"] == operation.name]
        if cells:
            yield _row(operation.name, *(_count(cells, group) for group in groups))


def _count(cells: Iterable[Entry], group: str) -> str:
    found = [bool(each["wrong"]) for each in cells if each["group"] == group]
    return f"{sum(found)} of {len(found)}" if found else ""


def _excused() -> Iterator[str]:
    """What is left out, and why."""
    yield "Left out:"
    yield ""
    for operation in OPERATIONS:
        faults: dict[str, list[str]] = {}
        for fault, reason in operation.excused.items():
            faults.setdefault(reason, []).append(fault)
        for reason, names in faults.items():
            yield f"- {operation.name} and {', '.join(names)}: {reason}."


def _head(names: Sequence[str]) -> Iterator[str]:
    yield _row(*names)
    yield _row(*("---" for _ in names))


def _row(*values: object) -> str:
    return f"| {' | '.join(map(str, values))} |"
