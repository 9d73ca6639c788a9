"""What is in the built packages: no file too few, none too many, and what an index shows of them.

Run by `make wheel` in a checkout, with the directory of the packages: `contents.py dist`.
"""

from __future__ import annotations

import email
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable, Iterable, Iterator
from email.message import Message
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SOURCES = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
# What hatchling adds: to the source, and to the wheel beside the package.
ADDED = {"pyproject.toml", ".gitignore", "PKG-INFO"}
SAID = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
_LINK = re.compile(r"\]\((?!https?://)([^)\s]+)\)")


def tracked(*paths: str) -> set[str]:
    """List the files that git has below some paths."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *paths],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(filter(None, listed.stdout.split("\0")))


def compare(name: str, there: Iterable[str], wanted: set[str]) -> Iterator[str]:
    """Say each file that a package has too many, or too few."""
    there = set(there)
    yield from (f"{name} has {each}, which nobody committed" for each in sorted(there - wanted))
    yield from (f"{name} has no {each}" for each in sorted(wanted - there))


def wheel_faults(path: Path, stem: str) -> Iterator[str]:
    """Compare a wheel with the package as git has it: no test, and each page's template."""
    said = f"{stem}.dist-info"
    wanted = {each.removeprefix("src/") for each in tracked("src/kinto_orm")}
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        yield from compare(path.name, names, wanted | {f"{said}/{each}" for each in SAID})
        yield from metadata_faults(path.name, wheel.read(f"{said}/METADATA"))


def source_faults(path: Path, stem: str) -> Iterator[str]:
    """Compare a source distribution with what git has of the files that it is to have."""
    with tarfile.open(path) as source:
        names = [each.name.removeprefix(f"{stem}/") for each in source if each.isfile()]
        yield from compare(path.name, names, tracked(*SOURCES) | ADDED)
        told = source.extractfile(f"{stem}/PKG-INFO")
        yield from metadata_faults(path.name, told.read() if told else b"")


def metadata_faults(name: str, content: bytes) -> Iterator[str]:
    """Check what an index shows, and what pip reads."""
    metadata = email.message_from_bytes(content)
    for what, is_so in CHECKS.items():
        if not is_so(metadata):
            yield f"the metadata of {name} is wrong: {what}"


def text_of(metadata: Message) -> str:
    """Read the description, which is the README."""
    payload = metadata.get_payload(decode=True)
    return payload.decode() if isinstance(payload, bytes) else ""


CHECKS: dict[str, Callable[[Message], bool]] = {
    "the README is not in it": lambda data: (
        data["Description-Content-Type"] == "text/markdown"
        and text_of(data).lstrip().startswith("# kinto-orm\n")
        and "with Session(" in text_of(data)
    ),
    "a link of the README leads to a file, which no index has": lambda data: (
        not _LINK.search(text_of(data))
    ),
    "the licence": lambda data: data["License-Expression"] == "Apache-2.0",
    "the version of Python": lambda data: data["Requires-Python"] == ">=3.11",
    "an extra is missing, or one too many": lambda data: (
        set(data.get_all("Provides-Extra", [])) == {*PROJECT["project"]["optional-dependencies"]}
    ),
    "it does not say that it is typed": lambda data: (
        "Typing :: Typed" in data.get_all("Classifier", [])
    ),
    "a URL is no address": lambda data: all(
        re.fullmatch(r"\w+, https?://\S+", each) for each in data.get_all("Project-URL", [])
    ),
}


def main(directory: Path) -> None:
    """Check the only two packages of a directory, and end with what is wrong."""
    (wheel,), (source,) = directory.glob("*.whl"), directory.glob("*.tar.gz")
    stem = source.name.removesuffix(".tar.gz")
    faults = [*wheel_faults(wheel, stem), *source_faults(source, stem)]
    print(*faults or ["the packages have what git has"], sep="\n")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
