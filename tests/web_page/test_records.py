"""Records on the page: as a table, as a form, as JSON; saved with their precondition."""

from __future__ import annotations

import html
import itertools
import json
import re
from datetime import date, datetime
from typing import Any, Literal
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field as SchemaField

from kinto_orm import Bucket, NotFound, Record, Session, col
from web_page.reader import Browser, record

_numbers = itertools.count(1)


class Todo(Record, collection="todos"):
    title: str = SchemaField(description="What is to be done")
    done: bool = False
    prio: int = 1
    price: float | None = None
    state: Literal["open", "closed"] = "open"
    day: date | None = None
    due: datetime | None = None
    tags: list[str] = []


def stored(id: str) -> dict[str, Any]:
    """What the server has under an id, without what it makes itself."""
    data = Record.get(id).model_dump(mode="json")
    return {name: data[name] for name in data.keys() - {"id", "last_modified", "schema"}}


# Tables


def test_a_table_shows_the_fields_of_the_schema(
    browser: Browser, session: Session, at: str
) -> None:
    """In the schema's order, then what else the records have; each cell as it reads best."""
    session.sync_schema(Todo)
    Todo(id="a", title="Write", prio=3, tags=["x"], done=True).save()
    browser.get(at)
    head, _, rest = browser.said.partition("changed ")
    assert head.endswith("id title done prio price state day ")
    assert rest.startswith("a Write yes 3 null open null")
    assert "1 record" in browser.said
    browser.get(f"{at}?columns=tags&columns=prio")
    assert 'id prio tags changed a 3 ["x"]' in browser.said


def test_a_table_without_a_schema_looks_at_the_records(
    browser: Browser, session: Session, at: str
) -> None:
    """What most of them have comes first; a field that is not there is shown as such."""
    record("a", rare=1, often="x")
    record("b", often="y")
    browser.get(at)
    assert "id often rare changed a x 1" in browser.said
    assert "b y ·" in browser.said


def test_conditions_and_order(browser: Browser, session: Session, at: str) -> None:
    """The search line takes what `find` takes, and the head of a column sorts by it."""
    for name, price in [("nut", 74), ("nail", 80), ("bolt", 90)]:
        record(name, name=name, price=price)
    browser.get(f"{at}?q=price>%3D74+name~n*&sort=-price")
    assert "2 records" in browser.said
    assert browser.text.index(">nail<") < browser.text.index(">nut<")
    assert "bolt" not in browser.said
    assert 'aria-sort="descending"' in browser.text
    browser.get(f"{at}?q=price%3D1")
    assert "No record meets this" in browser.said


@pytest.mark.parametrize(
    "query", ["q=price", "q=price%3D%3D1", "q=a-b>1", "sort=a+b", "position=x"]
)
def test_what_cannot_be_asked_is_said(
    browser: Browser, session: Session, at: str, query: str
) -> None:
    """Beside the search line, which keeps what was written."""
    browser.get(f"{at}?{query}", 422)
    assert "This cannot be asked" in browser.said


def test_pages(browser: Browser, session: Session, at: str) -> None:
    """Fifty on each, forwards by position and back; a deep link works in another browser."""
    session.save_all(Record(id=f"r{number:03}", n=number) for number in range(120))
    seen = []
    browser.get(f"{at}?sort=-n")
    for place in ("1 to 50 of 120", "51 to 100 of 120", "101 to 120 of 120"):
        assert place in browser.said
        seen += [int(each) for each in _cells(browser.text)]
        following = _link(browser.text, "Next page")
        if following:
            browser.get(following)
    assert seen == list(range(119, -1, -1))
    assert following is None
    browser.get(str(_link(browser.text, "Previous")))
    assert "51 to 100 of 120" in browser.said
    browser.get(str(_link(browser.text, "First page")))
    assert "1 to 50 of 120" in browser.said


def _cells(text: str) -> list[str]:
    return [part.partition("<")[0] for part in text.split('<span class="number">')[1:]]


def _link(text: str, label: str) -> str | None:
    before = text.partition(f">{label}</a>")
    if not before[1]:
        return None
    return before[0].rpartition('href="')[2].partition('"')[0].replace("&amp;", "&")


def test_each_head_that_can_be_clicked_sorts(browser: Browser, session: Session, at: str) -> None:
    """A name by which Kinto cannot sort is no link."""
    record("a", **{"plain_1": 1, "a-b": 1, "a b": 1, "é": 1, "_x": 1, " y": 1})
    columns = ["plain_1", "a-b", "a b", "é", "_x", " y"]
    text = browser.get(f"{at}?" + urlencode({"columns": columns}, doseq=True))
    heads = re.findall(r'<th [^>]*><a href="([^"]*)" data-swap>', text)
    assert len(heads) == 5  # three of them, and the id, and the time
    for each in heads:
        browser.get(html.unescape(each))
        assert "1 record" in browser.said


# Forms


def test_a_form_by_the_schema(browser: Browser, session: Session, at: str) -> None:
    """Each field has its control, and what is filled in is stored as its type."""
    session.sync_schema(Todo)
    todo = Todo(id="a", title="Write", price=1.5).save()
    browser.get(f"{at}/records/a")
    assert "What is to be done" in browser.said
    changes = {
        "value:title": "Read",
        "value:done": "true",
        "value:prio": "5",
        "state:price": "null",
        "value:state": '"closed"',
        "value:day": "2026-02-03",
        "state:day": "value",
        "value:due": "2026-02-03T04:05:06Z",
        "state:due": "value",
        "value:tags": '["a", "b"]',
    }
    browser.send(f"{at}/records/a", **changes)
    assert "Saved." in browser.said
    todo.refresh()
    assert (todo.title, todo.done, todo.prio, todo.price) == ("Read", True, 5, None)
    assert (todo.state, todo.day, todo.tags) == ("closed", date(2026, 2, 3), ["a", "b"])
    assert todo.due == datetime.fromisoformat("2026-02-03T04:05:06Z")


WRONG = [
    ("value:prio", "many", "a whole number is wanted"),
    ("value:price", "many", "a number is wanted"),
    ("value:prio", "1.5", "a whole number is wanted"),
    ("value:tags", "[1", "this is no JSON"),
    ("value:tags", '{"a": NaN}', "no NaN in JSON"),
    ("value:state", '"lost"', "did not take it"),
    ("value:title", "", None),
]


@pytest.mark.parametrize(("name", "text", "said"), WRONG)
def test_what_does_not_fit_is_said(
    browser: Browser, session: Session, at: str, name: str, text: str, said: str | None
) -> None:
    """Beside the field, and what was filled in is still there; nothing is stored."""
    session.sync_schema(Todo)
    Todo(id="a", title="Write").save()
    browser.get(f"{at}/records/a")
    if said is None:
        browser.send(f"{at}/records/a", **{name: text})
        return
    browser.send(f"{at}/records/a", 422, **{name: text, "value:title": "Kept"})
    assert said in browser.said
    assert browser.form(f"{at}/records/a").values["value:title"] == "Kept"
    assert Todo.get("a").title == "Write"
    browser.send(
        f"{at}/records/a",
        **{"value:prio": "2", "value:price": "1", "value:tags": "[]", "value:state": '"open"'},
    )
    assert Todo.get("a").title == "Kept"


def test_fields_come_and_go(browser: Browser, session: Session, at: str) -> None:
    """A field can be added, set to null and taken away."""
    record("a", keep=1, gone="x", nothing="y")
    browser.get(f"{at}/records/a")
    browser.send(
        f"{at}/records/a",
        **{"state:gone": "absent", "state:nothing": "null", "name:0": "new", "new:0": "[1]"},
    )
    assert stored("a") == {"keep": 1, "nothing": None, "new": [1]}
    browser.send(f"{at}/records/a", 422, **{"name:0": "keep", "new:0": "2"})
    assert "a field of this name already" in browser.said
    assert stored("a") == {"keep": 1, "nothing": None, "new": [1]}


def test_who_types_into_an_empty_field_wants_that(
    browser: Browser, session: Session, at: str
) -> None:
    """Whether it was null or not there; without JavaScript nobody turns the switch beside it."""
    session.sync_schema(Todo)
    Todo(id="a", title="Write", price=None).save()
    browser.get(f"{at}/records/a")
    browser.send(f"{at}/records/a", **{"value:price": "2.5", "value:tags": '["x"]'})
    todo = Todo.get("a")
    assert (todo.price, todo.tags) == (2.5, ["x"])
    browser.send(f"{at}/records/a", **{"state:price": "null", "state:tags": "absent"})
    assert Todo.get("a").price is None
    assert "tags" not in stored("a")


def test_as_json(browser: Browser, session: Session, at: str) -> None:
    """All fields at once; what is left out goes away, and what is no JSON is kept to be mended."""
    record("a", x=1, y={"z": 1.5})
    browser.get(f"{at}/records/a?as=json")
    assert json.loads(browser.form(f"{at}/records/a").values["json"]) == {"x": 1, "y": {"z": 1.5}}
    browser.send(f"{at}/records/a", 422, json='{"x": 2')
    assert "this is no JSON" in browser.said
    browser.send(f"{at}/records/a", 422, json="[1]")
    assert "a JSON object is wanted" in browser.said
    browser.send(f"{at}/records/a", json='{"x": 2, "save": "a method\'s name"}')
    assert stored("a") == {"x": 2, "save": "a method's name"}


def test_what_nobody_touched_is_not_sent(browser: Browser, session: Session, at: str) -> None:
    """A form that is sent as it is changes nothing."""
    before = record("a", x=1.0, y="two\r\nlines", z=None, w=[], day="no date").last_modified
    for path in (f"{at}/records/a", f"{at}/records/a?as=json"):
        browser.get(path)
        browser.send(f"{at}/records/a")
        assert "Nothing had changed" in browser.said
    assert Record.get("a").last_modified == before


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT
    | st.floats(allow_nan=False, allow_infinity=False, width=32),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
NAMES = st.text(st.sampled_from("abé <>\"'&:.-_ "), min_size=1, max_size=6)


def test_whatever_is_stored_stays_as_it_is(browser: Browser, session: Session, at: str) -> None:
    """Each value is shown, and a form that nobody changed sends it back as it is."""

    @settings(max_examples=20)
    @given(st.dictionaries(NAMES.map(str.strip).filter(bool), VALUES, max_size=4))
    def check(data: dict[str, Any]) -> None:
        id = f"r{next(_numbers)}"
        before = record(id, **data).last_modified
        for path in (f"{at}/records/{id}", f"{at}/records/{id}?as=json"):
            browser.get(path)
            browser.send(f"{at}/records/{id}")
            assert "Nothing had changed" in browser.said
        assert Record.get(id).last_modified == before

    check()


def test_whatever_is_filled_in_is_stored_or_refused(
    browser: Browser, session: Session, at: str
) -> None:
    """Names and values of any kind: never a fault, and what was refused changes nothing."""

    @settings(max_examples=20)
    @given(st.text(max_size=12), st.text(max_size=12) | st.sampled_from(ODD))
    def check(name: str, text: str) -> None:
        id = f"r{next(_numbers)}"
        before = record(id, x=1).last_modified
        browser.get(f"{at}/records/{id}")
        form = browser.form(f"{at}/records/{id}").values
        given = {"name:0": name, "new:0": text, "value:x": text}
        data = {key: value.encode("utf-8", "replace").decode() for key, value in given.items()}
        for changes in (data, {"json": data["value:x"]}, {"json": json.dumps({name: text})}):
            browser.page = browser.client.post(f"{at}/records/{id}", data=form | changes)
            assert browser.page.status_code in (200, 422), browser.said
            if browser.page.status_code == 422:
                assert Record.get(id).last_modified == before
                continue
            before = Record.get(id).last_modified
            browser.get(f"{at}/records/{id}")
            form = browser.form(f"{at}/records/{id}").values

    check()


ODD = ["1e999", "-0", "1" * 400, "[" * 2000, '"\\ud800"', "\0", "NaN", '{"a": 1e999}', f"[{2**64}]"]


def test_creating(browser: Browser, session: Session, at: str) -> None:
    """With an id and without one; one that is taken is said, and nothing is overwritten."""
    session.sync_schema(Todo)
    browser.get(f"{at}/new")
    browser.send(f"{at}/new", id="mine", **{"value:title": "Write", "value:prio": "2"})
    assert "Created." in browser.said
    assert stored("mine") == {"title": "Write", "prio": 2}
    browser.get(f"{at}/new")
    browser.send(f"{at}/new", 409, id="mine", **{"value:title": "Other"})
    assert browser.form(f"{at}/new").values["value:title"] == "Other"
    assert stored("mine")["title"] == "Write"
    browser.send(f"{at}/new", id="")
    assert str(browser.page.url).rpartition("/")[2] != "mine"
    assert Todo.find(col(Todo.title).eq("Other")).count() == 1
    browser.get(f"{at}/new")
    browser.send(f"{at}/new", 422, id="no id")
    browser.get(f"{at}/new?as=json")
    browser.send(f"{at}/new", id="json", json='{"title": "By JSON"}')
    assert stored("json") == {"title": "By JSON"}


def test_deleting(browser: Browser, session: Session, at: str) -> None:
    """Only as it was shown."""
    changing = record("a", x=1)
    browser.get(f"{at}/records/a")
    changing["x"] = 2
    changing.save()
    browser.send(f"{at}/records/a/delete", 409)
    assert Record.get("a")["x"] == 2
    browser.get(f"{at}/records/a")
    browser.send(f"{at}/records/a/delete")
    assert "Deleted: a" in browser.said
    with pytest.raises(NotFound):
        Record.get("a")


# Conflicts


def test_two_changes_go_together(browser: Browser, session: Session, at: str) -> None:
    """Where they changed different fields, one click saves both."""
    theirs = record("a", mine="old", theirs="old", same="s")
    browser.get(f"{at}/records/a")
    theirs["theirs"] = "new of theirs"
    theirs.save()
    browser.send(f"{at}/records/a", 409, **{"value:mine": "new of mine"})
    assert "Somebody else was first" in browser.said
    assert "you changed other fields" in browser.said
    assert "both changed it" not in browser.said
    browser.send(f"{at}/records/a/merge")
    assert stored("a") == {"mine": "new of mine", "theirs": "new of theirs", "same": "s"}


@pytest.mark.parametrize("choice", ["mine", "theirs"])
def test_a_field_that_both_changed_is_chosen(
    browser: Browser, session: Session, at: str, choice: str
) -> None:
    """All three states are shown; without a choice nothing is saved."""
    theirs = record("a", x="base-value", y=1)
    browser.get(f"{at}/records/a")
    theirs["x"] = "theirs-value"
    theirs.save()
    browser.send(f"{at}/records/a", 409, **{"value:x": "mine-value", "value:y": "2"})
    for value in ("base-value", "theirs-value", "mine-value", "both changed it"):
        assert value in browser.said
    shown = browser.page
    browser.send(f"{at}/records/a/merge", 422)
    assert stored("a") == {"x": "theirs-value", "y": 1}
    browser.page = shown
    browser.send(f"{at}/records/a/merge", **{"pick:x": choice})
    assert stored("a") == {"x": f"{choice}-value", "y": 2}


def test_a_conflict_in_a_conflict(browser: Browser, session: Session, at: str) -> None:
    """Who is overtaken again, while choosing, is asked again, and nothing is lost."""
    theirs = record("a", x=1, y=1)
    browser.get(f"{at}/records/a")
    theirs["x"] = 2
    theirs.save()
    browser.send(f"{at}/records/a", 409, **{"value:x": "3"})
    theirs["x"] = 4
    theirs["y"] = 5
    theirs.save()
    browser.send(f"{at}/records/a/merge", 409, **{"pick:x": "mine"})
    browser.send(f"{at}/records/a/merge", **{"pick:x": "mine"})
    assert stored("a") == {"x": 3, "y": 5}


def test_what_was_deleted_meanwhile(browser: Browser, session: Session, at: str) -> None:
    """It is said, and can be created again as it was written."""
    theirs = record("a", x=1)
    browser.get(f"{at}/records/a")
    theirs.delete()
    browser.send(f"{at}/records/a", 409, **{"value:x": "2"})
    assert "somebody deleted" in browser.said
    browser.send(f"{at}/records/a/merge")
    assert stored("a") == {"x": 2}


def test_the_base_cannot_be_changed(browser: Browser, session: Session, at: str) -> None:
    """What the form carries of the server's state is signed, and holds for one object."""
    record("a", x=1)
    record("b", x=1)
    browser.get(f"{at}/records/b")
    other = browser.form(f"{at}/records/b").values["base"]
    browser.get(f"{at}/records/a")
    base = browser.form(f"{at}/records/a").values["base"]
    changed = base[:-6] + ("A" if base[-6] != "A" else "B") + base[-5:]
    for forged in ("", "x.y", other, changed, "0" + base[1:]):
        answer = browser.client.post(
            f"{at}/records/a",
            data=browser.form(f"{at}/records/a").values | {"base": forged, "value:x": "2"},
        )
        assert answer.status_code == 400
    assert stored("a") == stored("b") == {"x": 1}


# Escaping and ids

EVIL = ["<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>", "{{ 7*7 }}", "</textarea>"]


@pytest.mark.parametrize("evil", EVIL)
def test_what_is_stored_stays_text(browser: Browser, session: Session, at: str, evil: str) -> None:
    """In names and values, on every page that shows them."""
    bucket = session.bucket
    stored = record("a", **{"text": evil, evil.replace(".", ""): evil, "deep": {evil: [evil]}})
    stored.permissions.grant("read", evil).save()
    stored["text"] = evil + "!"
    stored.save()
    session.kv[("evil", evil)] = evil
    Bucket.get(bucket).groups.new(id="g", members=[evil]).save()
    for path in [
        at,
        f"{at}/records/a",
        f"{at}/records/a?as=json",
        f"{at}/records/a/history",
        f"{at}/records/a/permissions",
        f"{at}/changes",
        f"{at}/history",
        f"/buckets/{bucket}/history",
        f"/buckets/{bucket}/keys",
        f"/buckets/{bucket}/groups",
        f"/buckets/{bucket}/groups/g",
    ]:
        text = browser.get(path)
        assert evil in browser.said or "{{" in evil, path
        assert "<script>alert" not in text
        assert "<img" not in text
        assert ">49<" not in text


@pytest.mark.parametrize("id", ["<script>", "a b", "é", "%2e%2e", "a%2Fb", "a?b", "a#b", "_"])
def test_any_id_in_an_address(browser: Browser, session: Session, at: str, id: str) -> None:
    """A deep link with an id that cannot be is answered by a page, as are those of no record."""
    from urllib.parse import quote

    answer = browser.client.get(f"{at}/records/{quote(id, safe='')}")
    assert answer.status_code in (404, 422)
    assert "<script>" not in answer.text
    answer = browser.client.get(at, params={"q": f'x="{id}"'})
    assert answer.status_code == 200


NAMES_OF_ARGUMENTS = ["q", "sort", "position", "start", "columns", "prefix", "name", "as", "since"]


def test_whatever_stands_in_an_address(browser: Browser, session: Session, at: str) -> None:
    """Each argument of any text is answered by a page, and never by a fault."""
    record("a", x=1)
    paths = [at, f"{at}/records/a", f"{at}/changes", f"{at}/history", f"/buckets/{session.bucket}"]
    paths += ["/", "/open", "/login", f"/buckets/{session.bucket}/keys", f"{at}/records/a/history"]

    @settings(max_examples=20)
    @given(
        st.sampled_from(paths),
        st.dictionaries(st.sampled_from(NAMES_OF_ARGUMENTS), st.text(max_size=9), max_size=4),
    )
    def check(path: str, query: dict[str, str]) -> None:
        sent = {name: text.encode("utf-8", "replace").decode() for name, text in query.items()}
        answer = browser.client.get(path, params=sent)
        assert answer.status_code in (200, 403, 404, 422), (answer.status_code, answer.text)

    check()


def test_ids_with_dashes_are_linked(browser: Browser, session: Session, at: str) -> None:
    """Each record is reached by the link in the table."""
    for id in ("-".join("abc"), "A_b-1", "9"):
        record(id, x=1)
    text = browser.get(at)
    for id in ("a-b-c", "A_b-1", "9"):
        assert f'href="{at}/records/{id}"' in text
        browser.get(f"{at}/records/{id}")
