"""`models`: what it writes can be imported, and loads every record that it was made from."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kinto_orm import Bucket, Collection, Record, Session
from kinto_orm.cli.modelling.naming import class_name, class_names, field_names
from kinto_orm.cli.modelling.schemas import shape_of
from kinto_orm.cli.modelling.shapes import Shape
from kinto_orm.cli.modelling.source import Module
from program import Run, as_process, in_process

ROOT = Path(__file__).parents[2]
# What the checkers of tests/typing are given, too.
GENERATED = ROOT / "tests" / "typing" / "accept_generated.py"

PETS: list[dict[str, Any]] = [
    {
        "id": "a",
        "name": "Ada",
        "class": "cat",
        "save": True,
        "born": "2020-02-29",
        "seen": "2026-01-01T00:00:00Z",
        "chip": "8f14e45f-ceea-467f-a0e6-0e1f2a3b4c5d",
        "weight": 4.5,
        "big": 2**60,
        "a b": 1,
        "a-b": 2,
        "größe": 3,
        "1st": [1, "x", None],
        "owner": {"name": "Eve", "zip": None},
        "visits": [{"on": "2025-01-01", "cost": 3}, {"on": "2025-02-01", "why": "fever"}],
        "permissions": {"read": ["x"]},
        "list": [],
        "gone": None,
        "_x": {},
        'say "hi"': "\\",
        "model_dump_x": 1,
    },
    {
        "id": "b",
        "name": None,
        "class": "dog",
        "save": False,
        "born": "2021-01-01",
        "seen": "2026-01-01T00:00:00+02:00",
        "chip": "9f14e45f-ceea-467f-a0e6-0e1f2a3b4c5d",
        "weight": 4,
        "big": 0.5,
        "a b": "one",
        "größe": 3,
        "1st": [],
        "owner": {"name": "Eve", "zip": 7, "a.b": 1},
        "visits": [],
        "permissions": {},
        "list": [[1], [2.5]],
        "gone": None,
    },
]

SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "Visit",
    "required": ["kind", "tags"],
    "properties": {
        "kind": {"enum": ["check", "surgery", "a kind whose name is long", "fever", "other"]},
        "short": {"enum": ["a", 1, None]},
        "at": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]},
        "day": {"type": "string", "format": "date"},
        "site": {"type": "string", "format": "uri"},
        "mail": {"type": "string", "format": "email"},
        "done": {"type": "boolean", "default": False},
        "note": {"type": ["string", "null"], "maxLength": 3},
        "tags": {"type": "array", "items": {"type": "string"}},
        "parent": {"$ref": "#/$defs/Person"},
        "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
        "price": {"type": "number"},
        "free": {},
        "nested": {"type": "object", "properties": {"copy": {"type": "integer"}}},
    },
    "$defs": {
        "Person": {
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {"type": "string"},
                "parents": {"type": "array", "items": {"$ref": "#/$defs/Person"}},
                "boss": {"$ref": "#/$defs/Person"},
            },
        }
    },
}

VISITS: list[dict[str, Any]] = [
    {
        "id": "v",
        "kind": "check",
        "tags": [],
        "short": None,
        "day": "2026-01-01",
        "site": "https://kinto.example/",
        "price": 3,
        "free": [1],
        "nested": {"copy": 1, "more": 2},
        "parent": {"name": "Eve", "parents": [{"name": "Ida", "boss": {"name": "Ada"}}]},
        "counts": {"a b": 1},
        "unknown": {"a": 1},
    }
]

_modules = count(1)


@contextmanager
def imported(source: str) -> Iterator[ModuleType]:
    """A module of this source."""
    module = ModuleType(f"generated_{next(_modules)}")
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, module.__name__, "exec"), vars(module))
        yield module
    finally:
        del sys.modules[module.__name__]


def classes(module: ModuleType) -> Iterator[type[Record]]:
    """The models of records of a module."""
    for each in list(vars(module).values()):
        if isinstance(each, type) and issubclass(each, Record) and each is not Record:
            yield each


def assert_loads(source: str, session: Session, wanted: int) -> None:
    """Each record is loaded, has nothing to be saved, and is the same when it is sent back."""
    found = 0
    with imported(source) as module:
        for model in classes(module):
            records = model.find(session=session).all()
            found += len(records)
            assert [each.diff() for each in records] == [{}] * len(records)
            assert session.save_all(records).unchanged == len(records)
    assert found == wanted


def filled(session: Session) -> None:
    Collection(id="pets").save(session=session)
    Collection(id="vet-visits", json_schema=SCHEMA).save(session=session)
    for id, rows in (("pets", PETS), ("vet-visits", VISITS)):
        records = Collection.get(id, session=session).records
        for row in rows:
            records.new(row).save()


def test_what_is_written_loads_all(program_session: Session, program: Run) -> None:
    """Records with and without a schema, on each server; and it is what checkers are given."""
    filled(program_session)
    ran = program("models")
    assert (ran.status, ran.err) == (0, "")
    assert_loads(ran.out, program_session, 3)
    source = ran.out.replace(f"bucket {program_session.bucket}.", "bucket clinic.")
    # To write it anew: GENERATED.write_text(source)
    assert source == GENERATED.read_text()


@pytest.mark.parametrize("options", [["--line-length=88"], ["--line-length=100"]])
def test_ruff_accepts_it(options: list[str], tmp_path: Path) -> None:
    """Its usual rules and its formatter, whatever the length of lines is."""
    file = tmp_path / "models.py"
    file.write_text(GENERATED.read_text())
    for command in (
        ["check", "--select=E4,E7,E9,F,I,UP"],
        ["format", "--check"],
    ):
        ran = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--isolated", *options, str(file)],
            # Elsewhere than among the sources of the package, which would be the file's own.
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout


def test_long_names_are_formatted(tmp_path: Path) -> None:
    """Types that do not fit into a line have a name."""
    shape = Shape()
    for value in ("x", 1, [{"a": 1}], {"b": 1}):
        shape.widen({"a_field_with_a_name_that_is_rather_long": value})
    module = Module("Models.")
    module.add("a-collection-whose-id-is-longer-than-others", shape, has_schema=False)
    file = tmp_path / "models.py"
    file.write_text(str(module))
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "--check", str(file)]
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 0
    with imported(str(module)) as imported_module:
        assert len(list(classes(imported_module))) == 1


def test_only_some_are_looked_at(program_session: Session, program: Run) -> None:
    filled(program_session)
    ran = program("models", "pets", "--sample", "1")
    assert "class Pets(Record" in ran.out
    assert "VetVisits" not in ran.out
    assert "    name: str\n" in ran.out


def test_a_missing_collection_is_said(program: Run) -> None:
    ran = program("models", "nothing")
    assert (ran.status, ran.out) == (1, "")
    assert "nothing" in ran.err


def test_as_a_process(tmp_path: Path) -> None:
    server = f"sqlite:///{tmp_path}/x.db"
    with Session(server, bucket="clinic") as session:
        Bucket(id="clinic").save()
        filled(session)
    ran = as_process("models", "--server", server, "--bucket", "clinic")
    assert (ran.status, ran.out, ran.err) == (0, GENERATED.read_text(), "")


ODD_NAMES = st.sampled_from([
    "id2", "class", "None", "save", "copy", "schema", "json", "permissions", "is_new", "uri",
    "modified_at", "list", "str", "dt", "Field", "is_none", "a b", "a-b", "a_b", "a.b", "_a_b",
    "__a__", "1a", "", " ", "é", "e\u0301", "ﬁ", "model_config", "model_dump_json", "model_x", "ª",
    '"', "\\", "\n", "id", "last_modified", "match", "Record", "UUID", "self", "cls", "before_save",
])  # fmt: skip
TEXTS = st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), max_size=8
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: abs(x) < 1e15)
    | TEXTS
    | st.sampled_from(["2026-01-01", "2026-01-01T00:00:00Z", "12:00:00", "2026-02-30"])
    | st.uuids().map(str)
    | st.datetimes().map(lambda x: x.isoformat())
)
INNER_NAMES = ODD_NAMES | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(INNER_NAMES, inner, max_size=3),
    max_leaves=6,
)
FIELDS = (ODD_NAMES | TEXTS).filter(lambda x: x not in ("id", "last_modified"))
RECORDS = st.lists(st.dictionaries(FIELDS, VALUES, max_size=5), min_size=1, max_size=4)


@settings(max_examples=60)
@given(RECORDS)
@example([{"a b": {}}, {"a_b": []}])
def test_any_records_are_loaded(rows: list[dict[str, Any]]) -> None:
    """Whatever is in them, what is written of a look at them loads them, and nothing is to save."""
    with Session("memory://tests", bucket=f"models{next(_modules)}") as session:
        Bucket(id=session.bucket).save()
        records = Collection(id="odd-ones").save().records
        for row in rows:
            records.new(row).save()
        where = ("--server", "memory://tests", "--bucket", session.bucket)
        source = in_process(*where, "models").out
        assert_loads(source, session, len(rows))


PARTS = st.sampled_from([
    {"type": "string"}, {"type": "string", "format": "date-time"}, {"type": "integer"},
    {"type": "number"}, {"type": "boolean", "default": True}, {"type": ["string", "null"]},
    {"enum": ["a", 1, None, True]}, {"enum": [[1], "a"]}, {"const": "a"}, {}, True, False,
    {"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}, {"$ref": "#"}, {"$ref": "#/$defs/missing"},
    {"$ref": "https://kinto.example/x"}, {"not": {"type": "string"}}, {"type": "array"},
    {"type": "object", "additionalProperties": {"type": "integer"}}, {"type": "null"},
    {"type": "string", "format": "email", "default": "x"}, {"type": "string", "format": "uri"},
    {"type": "array", "items": [{"type": "string"}, {"type": "integer"}]}, {"minimum": 3},
])  # fmt: skip
SCHEMAS = st.recursive(
    PARTS,
    lambda inner: (
        st.builds(lambda x: {"type": "array", "items": x}, inner)
        | st.builds(lambda x: {"anyOf": x}, st.lists(inner, min_size=1, max_size=3))
        | st.builds(lambda x: {"allOf": x}, st.lists(inner, min_size=1, max_size=2))
        | st.builds(
            lambda x, y: {"type": "object", "properties": x, "required": y},
            st.dictionaries(INNER_NAMES, inner, min_size=1, max_size=3),
            st.lists(INNER_NAMES, max_size=2),
        )
    ),
    max_leaves=5,
)


@settings(max_examples=60)
@given(st.dictionaries(FIELDS, SCHEMAS, min_size=1, max_size=4), SCHEMAS, SCHEMAS, st.data())
def test_any_schema_has_a_model_that_loads_what_is_there(
    properties: dict[str, Any], a: Any, b: Any, data: st.DataObject
) -> None:
    """Also where records are older than the schema, and need not fit it."""
    schema = {"type": "object", "properties": properties, "$defs": {"a": a, "b": b}}
    names = st.sampled_from([*properties])
    rows = data.draw(st.lists(st.dictionaries(names, VALUES, max_size=3), max_size=3))
    shape = shape_of(schema)
    assert shape is not None
    with Session("memory://tests", bucket=f"models{next(_modules)}") as session:
        Bucket(id=session.bucket).save()
        records = Collection(id="odd-ones").save().records
        for row in rows:
            shape.widen(records.new(row).save().model_dump(mode="json"))
        module = Module("Models.")
        module.add("odd-ones", shape, has_schema=False)
        assert_loads(str(module), session, len(rows))


@given(st.lists(ODD_NAMES | TEXTS, max_size=8, unique=True), st.booleans())
def test_fields_have_names_of_their_own(stored: list[str], of_record: bool) -> None:
    names = field_names(stored, of_record=of_record)
    made = [names[each] for each in stored]
    assert len(set(made)) == len(made)
    assert all(each.isidentifier() and not each.startswith("_") for each in made)
    # By a name that is that of another stored field, that one would be read.
    assert all(name == of or name not in stored for of, name in names.items())


@given(st.lists(st.from_regex(r"\A[a-zA-Z0-9][a-zA-Z0-9_-]{0,10}\Z"), unique=True, max_size=8))
def test_collections_have_classes_of_their_own(ids: list[str]) -> None:
    names = class_names()
    made = [names.unique(class_name(each)) for each in ids]
    assert len(set(made)) == len(made)
    assert all(each.isidentifier() for each in made)
