"""What a form does to fields that nobody touched, and to those that somebody emptied."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from kinto_orm import Collection, Record, Session
from web_page.reader import USER, Browser, record


def stored(id: str) -> dict[str, Any]:
    """What the server has under an id, without what it makes itself."""
    data = Record.get(id).model_dump(mode="json")
    return {name: data[name] for name in data.keys() - {"id", "last_modified", "schema"}}


def put(session: Session, path: str, data: Any) -> None:
    """Store by plain HTTP what the library would refuse."""
    url = f"{session.server_url}/buckets/{session.bucket}/collections/{path}"
    httpx.put(url, json={"data": data}, auth=USER).raise_for_status()


def let_be(**properties: Any) -> None:
    """Give the collection a schema with these fields."""
    collection = Collection.get("todos")
    collection.json_schema = {"type": "object", "properties": properties}
    collection.save()


# One value as it is shown by one schema, and by another one.
TURNED: list[tuple[Any, dict[str, Any], dict[str, Any]]] = [
    ("1", {"type": "string"}, {"type": ["string", "integer"], "format": "x"}),
    ("1", {"type": "string"}, {}),
    ("abc", {}, {"type": "string"}),
    ("abc", {"anyOf": [{"type": "string"}, {"type": "integer"}]}, {"enum": ["abc", "x"]}),
    (1.0, {"type": "number"}, {"enum": [1]}),
    (None, {"type": ["string", "null"]}, {"type": ["integer", "null"]}),
]


@pytest.mark.parametrize(("value", "before", "after"), TURNED)
def test_a_schema_that_changes_meanwhile(
    browser: Browser,
    session: Session,
    at: str,
    value: Any,
    before: dict[str, Any],
    after: dict[str, Any],
) -> None:
    """What nobody touched is what it was when it was shown, whatever the schema says since."""
    let_be(x=before, y={})
    record("a", x=value, y=1)
    browser.get(f"{at}/records/a")
    let_be(x=after, y={})
    browser.send(f"{at}/records/a", **{"value:y": "2"})
    assert stored("a") == {"x": value, "y": 2}
    assert type(stored("a")["x"]) is type(value)


def test_the_shapes_are_of_one_form(browser: Browser, session: Session, at: str) -> None:
    """They are sealed as the values are."""
    record("a", x=1)
    browser.get(f"{at}/new")
    other = browser.form(f"{at}/new").values["shapes"]
    browser.get(f"{at}/records/a")
    for forged in ("", other):
        browser.get(f"{at}/records/a")
        browser.send(f"{at}/records/a", 400, shapes=forged)


@pytest.mark.parametrize("value", [{"a": 1, "b": [2]}, [1, 2], 1.0, "x", True])
def test_a_choice_of_anything(browser: Browser, session: Session, at: str, value: Any) -> None:
    """What is stored is what is selected; another choice is stored as the schema has it."""
    choices = [0, {"b": [2], "a": 1}, [1, 2], 1, "x", True]
    let_be(x={"enum": choices}, y={})
    record("a", x=value, y=1)
    browser.get(f"{at}/records/a")
    browser.send(f"{at}/records/a", **{"value:y": "2"})
    assert stored("a") == {"x": value, "y": 2}
    browser.get(f"{at}/records/a")
    browser.send(f"{at}/records/a", **{"value:x": "0"})
    assert stored("a") == {"x": 0, "y": 2}


@pytest.mark.parametrize("state", ["absent", "null"])
def test_who_says_that_it_is_not_there(
    browser: Browser, session: Session, at: str, state: str
) -> None:
    """What is left in the control counts for nothing, also after an error elsewhere."""
    let_be(x={"type": ["string", "null"]}, n={"type": "integer"})
    record("a", n=1, **({"x": None} if state == "null" else {}))
    before = stored("a")
    browser.get(f"{at}/records/a")
    given = {"value:x": "left over", "state:x": state}
    browser.send(f"{at}/records/a", 422, **given, **{"value:n": "no"})
    browser.send(f"{at}/records/a", **{"value:n": "2"})
    assert stored("a") == before | {"n": 2}


FORMATS = [
    ({"type": "string", "format": "date"}, "2026-01-31", "31.1."),
    ({"type": "string", "format": "date-time"}, "2026-01-31T12:00:00Z", "noon"),
    ({"type": "string", "format": "email"}, "a@example.com", "nobody"),
    ({"type": "string", "format": "uri"}, "https://example.com/", "over there"),
    ({"type": "number"}, 1.5, "much"),
    ({"type": "integer"}, 3, "1.5"),
]


@pytest.mark.parametrize(("schema", "value", "wrong"), FORMATS)
def test_what_is_emptied(
    browser: Browser, session: Session, at: str, schema: dict[str, Any], value: Any, wrong: str
) -> None:
    """It is null where that may be, else not there; never an empty text in its place."""
    let_be(x=schema, y={"anyOf": [schema, {"type": "null"}]})
    record("a", x=value, y=value)
    browser.get(f"{at}/records/a")
    browser.send(f"{at}/records/a", 422, **{"value:x": wrong})
    assert "wanted here" in browser.said
    assert browser.form(f"{at}/records/a").values["value:x"] == wrong
    browser.send(f"{at}/records/a", **{"value:x": "", "value:y": ""})
    assert stored("a") == {"y": None}


def test_what_is_emptied_and_has_to_be_there(browser: Browser, session: Session, at: str) -> None:
    """It is said at the field."""
    collection = Collection.get("todos")
    collection.json_schema = {"properties": {"x": {"type": "integer"}}, "required": ["x"]}
    collection.save()
    record("a", x=1)
    browser.get(f"{at}/records/a")
    browser.send(f"{at}/records/a", 422, **{"value:x": ""})
    assert "a value has to be here" in browser.said


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
def test_line_ends_stay(browser: Browser, session: Session, at: str, end: str) -> None:
    """Who adds a letter changes no line end."""
    record("a", x=f"one{end}two")
    browser.get(f"{at}/records/a")
    browser.send(f"{at}/records/a", **{"value:x": "one\r\ntwo!"})
    assert stored("a") == {"x": f"one{end}two!"}


@pytest.mark.parametrize("text", ["a\r\nb\nc", "a\rb\n", "nul\0", "\n\r"])
def test_what_a_control_would_change_is_json(
    browser: Browser, session: Session, at: str, text: str
) -> None:
    """Line ends of several kinds, and what browsers drop, can be seen, and stay."""
    put(session, "todos/records/a", {"x": text, "y": 1})
    browser.get(f"{at}/records/a")
    assert browser.form(f"{at}/records/a").values["value:x"].startswith('"')
    browser.send(f"{at}/records/a", **{"value:y": "2"})
    assert stored("a") == {"x": text, "y": 2}


@pytest.mark.parametrize("name", ["a\nb", "a\r\nb", "a\rb", "\0", '"a"', '"a\\nb"', "ü", " "])
def test_names_of_any_kind(browser: Browser, session: Session, at: str, name: str) -> None:
    """A field is found again whatever a browser makes of its name."""
    put(session, "todos/records/a", {name: "x", "y": 1, "a": 2})
    browser.get(f"{at}/records/a")
    browser.send(f"{at}/records/a", **{"value:y": "2"})
    assert stored("a") == {name: "x", "y": 2, "a": 2}


def test_more_fields(browser: Browser, session: Session, at: str) -> None:
    """What cannot be added is said, and what is there already is not changed by it."""
    record("a", x=1)
    browser.get(f"{at}/records/a")
    for given, said in [
        ({"new:1": "5"}, "a value has no name"),
        ({"name:1": "x", "new:1": "5"}, "a field of this name already"),
        ({"name:1": "y", "new:1": '{"a": 1, "a": 2}'}, "is there twice"),
    ]:
        browser.send(f"{at}/records/a", 422, **given)
        assert said in browser.said
        form = browser.form(f"{at}/records/a").values
        assert form["value:x"] == "1"
        assert form["new:1"] == given["new:1"]
    browser.send(f"{at}/records/a", **{"name:1": "", "new:1": ""})
    assert stored("a") == {"x": 1}


def test_a_name_twice_in_json(browser: Browser, session: Session, at: str) -> None:
    """One of the two values would be lost."""
    record("a", x=1)
    browser.get(f"{at}/records/a?as=json")
    browser.send(f"{at}/records/a", 422, json='{"x": {"b": 1, "b": 2}}')
    assert '"b" is there twice' in browser.said
    assert stored("a") == {"x": 1}


def test_the_servers_names_in_json(browser: Browser, session: Session, at: str) -> None:
    """An id is that of the new record; what would be dropped is refused."""
    browser.get(f"{at}/new?as=json")
    for text in ('{"schema": 1}', '{"last_modified": 1}', '{"id": "other"}', '{"id": 1}'):
        id = "one" if "id" in text else ""
        browser.send(f"{at}/new", 422, id=id, json=text)
        assert "of the server's own" in browser.said
        assert browser.form(f"{at}/new").values["json"] == text
    browser.send(f"{at}/new", id="", json='{"id": "mine", "x": 1}')
    assert stored("mine") == {"x": 1}
    browser.get(f"{at}/records/mine?as=json")
    browser.send(f"{at}/records/mine", 422, json='{"id": "other", "x": 2}')
    browser.send(f"{at}/records/mine", json='{"id": "mine", "x": 2}')
    assert stored("mine") == {"x": 2}
