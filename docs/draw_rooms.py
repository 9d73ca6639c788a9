"""Draw the rooms of the package, and which imports which, as an SVG: see `make docs`.

The order is that of the first contract in `[tool.importlinter]`, the rest is read from the code,
so that the picture cannot be out of date. A room is a box. What it imports leaves it to the right,
and goes down at a dot to the room that is imported. Each room has a line of its own to come in by.

    python docs/draw_rooms.py [FILE.svg]
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "kinto_orm"
PICTURE = ROOT / "docs" / "_build" / "rooms.svg"

MARGIN = 10
BOX = (300, 40)
ROW = 60
LANE = 26

# The boxes bring their own ground, and the lines can be seen on white as on black.
STYLE = """
text { font: 15px sans-serif; fill: #1b2a3d; }
.size { font-size: 12px; fill: #45566d; }
rect { fill: #e6eefa; stroke: #4f7cb8; rx: 5; }
path { fill: none; stroke: #4f7cb8; stroke-width: 1.5; }
circle, polygon { fill: #4f7cb8; }
"""


class Room(NamedTuple):
    """A room: a folder of the package, or one file.

    Attributes:
        name: Such as "wire".
        files: How many there are.
        lines: How many they have together.
        imports: How many files of it import each other room.
    """

    name: str
    files: int
    lines: int
    imports: Counter[str]


def order() -> list[str]:
    """The rooms from top to bottom."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    rooms = settings["tool"]["importlinter"]["contracts"][0]
    return [name.strip() for layer in rooms["layers"] for name in layer.split("|")]


def rooms() -> list[Room]:
    """Read all rooms, from top to bottom."""
    names = order()
    return [read(name, names) for name in names]


def read(name: str, names: Sequence[str]) -> Room:
    """Read a room; imports that only the type checker follows count, too."""
    files = sorted((PACKAGE / name).rglob("*.py")) or [PACKAGE / f"{name}.py"]
    texts = [each.read_text() for each in files]
    imports = Counter(other for text in texts for other in set(imported(text)) & {*names} - {name})
    return Room(name, len(files), sum(len(text.splitlines()) for text in texts), imports)


def imported(text: str) -> Iterator[str]:
    """The rooms that a file imports from."""
    for node in ast.walk(ast.parse(text)):
        found: list[str] = []
        if isinstance(node, ast.Import):
            found = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            found = [f"{node.module}.{each.name}" for each in node.names]
        for each in found:
            package, _, inside = each.partition(".")
            if package == PACKAGE.name:
                yield inside.partition(".")[0]


def draw(found: Sequence[Room]) -> str:
    """The picture, as the text of an SVG."""
    rows = {room.name: index for index, room in enumerate(found)}
    met = {name for room in found for name in room.imports}
    # The lowest room has its line on the outside, so that lines do not meet arrows.
    lanes = {name: index for index, name in enumerate(name for name in rows if name in met)}
    width = 2 * MARGIN + BOX[0] + LANE * (len(lanes) + 1)
    height = 2 * MARGIN + ROW * len(found)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img">',
        "<title>The rooms of kinto_orm, and what each imports</title>",
        f"<style>{STYLE}</style>",
        *(part for room in found for part in box(room, rows)),
        *(part for name in lanes for part in way_in(name, found, rows, lanes)),
        *(part for room in found if room.imports for part in way_out(room, rows, lanes)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def top(row: int) -> int:
    """Where the box of a row begins."""
    return MARGIN + ROW * row


def lane(index: int) -> int:
    """Where a line goes down."""
    return MARGIN + BOX[0] + LANE * (index + 1)


def box(room: Room, rows: Mapping[str, int]) -> Iterator[str]:
    """A room with its name and its size."""
    y = top(rows[room.name])
    files = "1 file" if room.files == 1 else f"{room.files} files"
    yield f'<rect x="{MARGIN}" y="{y}" width="{BOX[0]}" height="{BOX[1]}"/>'
    yield f'<text x="{MARGIN + 14}" y="{y + 25}">{room.name}</text>'
    yield (
        f'<text class="size" x="{MARGIN + BOX[0] - 14}" y="{y + 25}" text-anchor="end">'
        f"{files}, {room.lines:,} lines</text>"
    )


def way_in(
    name: str, found: Sequence[Room], rows: Mapping[str, int], lanes: Mapping[str, int]
) -> Iterator[str]:
    """The line that comes down to a room, with its arrow."""
    first = min(rows[room.name] for room in found if name in room.imports)
    x, y, edge = lane(lanes[name]), top(rows[name]) + 10, MARGIN + BOX[0]
    yield f'<path d="M{x} {top(first) + 30} V{y} H{edge + 6}"/>'
    yield f'<polygon points="{edge},{y} {edge + 9},{y - 4} {edge + 9},{y + 4}"/>'


def way_out(room: Room, rows: Mapping[str, int], lanes: Mapping[str, int]) -> Iterator[str]:
    """The line that goes out of a room, with a dot for each room that it imports."""
    y = top(rows[room.name]) + 30
    yield f'<path d="M{MARGIN + BOX[0]} {y} H{max(lane(lanes[name]) for name in room.imports)}"/>'
    for name, count in room.imports.items():
        yield (
            f'<circle cx="{lane(lanes[name])}" cy="{y}" r="4">'
            f"<title>{room.name} imports {name}, in {count} of {room.files}</title></circle>"
        )


def main(picture: Path) -> None:
    """Write the picture."""
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_text(draw(rooms()))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE)
