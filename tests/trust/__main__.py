"""Run the fault matrix and print it.

`--only operation:fault:number` shows single cells. A run that was stopped goes on from what it has
written: `--json FILE --with FILE`; several files with cells are put together.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from fnmatch import fnmatch
from itertools import product
from pathlib import Path

from trust import runs, table
from trust.cells import Cell, Laboratory, chosen
from trust.faces import FACES
from trust.operations import OPERATIONS

# Most of the time is spent waiting for timeouts.
PROCESSES = 3 * (os.cpu_count() or 2)

Entry = runs.Entry


def _entry(cell: Cell, laboratory: Laboratory) -> Entry:
    outcome = laboratory.run(cell)
    error = outcome.error
    return {
        "cell": str(cell),
        "session": laboratory.face.name,
        "operation": cell.operation.name,
        "fault": cell.fault.name,
        "group": cell.fault.group,
        "number": cell.number,
        "error": type(error).__name__ if error is not None else "",
        "requests": len(outcome.received),
        "plain": len(laboratory.plain(cell.operation).received),
        "seconds": round(outcome.seconds, 3),
        "wrong": outcome.wrong,
    }


def row(name: str, session: str, faults: Sequence[str]) -> list[Entry]:
    """Run all cells of one operation on one session, in a process of its own."""
    laboratory = Laboratory(session)
    try:
        (operation,) = (each for each in OPERATIONS if each.name == name)
        return [
            _entry(cell, laboratory)
            for cell in laboratory.cells(operation)
            if any(fnmatch(cell.fault.name, each) for each in faults)
        ]
    finally:
        laboratory.close()


def everything(
    rows: Iterable[runs.Row],
    processes: int,
    faults: Sequence[str],
    written: Path | None,
    known: Iterable[Entry] = (),
) -> list[Entry]:
    """Run all cells of rows, several rows at a time; the known ones come before them."""
    entries = list(known)
    with ProcessPoolExecutor(processes) as pool:
        under_way = {pool.submit(row, *each, faults): " on ".join(each) for each in rows}
        for done in as_completed(under_way):
            cells = done.result()
            wrong = sum(1 for each in cells if each["wrong"])
            print(f"{under_way[done]}: {wrong} of {len(cells)} wrong", file=sys.stderr, flush=True)
            entries += cells
            if written:
                runs.keep(entries, written)
    return entries


def show(names: list[str], session: str) -> int:
    """Run single cells on one session, and show all of them."""
    laboratory = Laboratory(session)
    wrong = 0
    try:
        for cell in chosen(names, laboratory):
            outcome = laboratory.run(cell)
            wrong += bool(outcome.wrong)
            judged = "WRONG" if outcome.wrong else "ok"
            print(f"== {cell} on {session} {outcome.seconds:.2f} s: {judged}")
            for each in outcome.wrong:
                print("   WRONG", each)
            print("  ", *outcome.received, sep="\n   ")
            print("   result:", outcome.result, "stored:", json.dumps(outcome.stored))
            if outcome.error is not None:
                traceback.print_exception(outcome.error)
    finally:
        laboratory.close()
    return wrong


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(prog="trust", description=__doc__)
    parser.add_argument("--only", nargs="+", help="cells to show: operation:fault:number")
    parser.add_argument("--session", choices=FACES, help="on which; by default on both")
    parser.add_argument("--operations", nargs="+", help="rows; by default all")
    parser.add_argument("--faults", nargs="+", default=["*"], help="columns; by default all")
    parser.add_argument("--processes", type=int, default=PROCESSES)
    parser.add_argument("--json", type=Path, help="where to write all cells")
    parser.add_argument(
        "--with",
        dest="known",
        metavar="FILE",
        nargs="+",
        type=Path,
        default=[],
        help="cells of earlier runs, as --json writes them: their rows are not run again",
    )
    parser.add_argument("--write", type=Path, help="the page in which the tables stand")
    options = parser.parse_args(arguments)
    sessions = [options.session] if options.session else list(FACES)
    if options.only:
        sys.exit(sum(show(options.only, each) for each in sessions) > 0)
    start = time.monotonic()
    names = options.operations or [each.name for each in OPERATIONS]
    known = runs.earlier(options.known)
    rows = runs.left(product(names, sessions), known)
    entries = everything(rows, options.processes, options.faults, options.json, known)
    if options.json:
        runs.keep(entries, options.json)
    print("\n".join(table.lines(entries)))
    if options.write:
        table.write(options.write, entries)
    wrong = [each for each in entries if each["wrong"]]
    for each in wrong:
        print("WRONG", each["cell"], "on", each["session"], each["error"], each["wrong"])
    print(f"{len(wrong)} of {len(entries)} cells are WRONG; {time.monotonic() - start:.0f} s")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
