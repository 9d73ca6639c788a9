"""What is odd, lost, or sent twice."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx
import pytest

from deep import put_nested
from kinto_orm import Group, Record, Session, Template
from web_page.reader import USER, Browser, record


def test_a_record_that_is_shared_alone(
    opening: Callable[..., Browser], session: Session, at: str
) -> None:
    """Who may read it, and not its collection, sees it."""
    shared = record("a", x="for eve")
    shared.permissions.grant("read", "system.Everyone").save()
    nobody = opening()
    nobody.get("/login")
    token = nobody.form("/login").values["csrf"]
    nobody.client.post("/login", data={"csrf": token, "anonymous": "1"})
    for browser in (opening().log_in("eve", "x"), nobody):
        browser.get(f"{at}/records/a")
        assert "for eve" in browser.text


def test_an_odd_template_hides_no_other(browser: Browser, session: Session) -> None:
    """It is named in the list."""
    Template(name="good", source="hello").save()
    url = f"{session.server_url}/buckets/{session.bucket}/collections/templates/records/odd"
    httpx.put(url, json={"data": {"x": 1}}, auth=USER).raise_for_status()
    browser.get(f"/buckets/{session.bucket}/templates")
    assert "good hello" in browser.said
    assert "odd cannot be read" in browser.said


@pytest.mark.parametrize("page", ["keys", "templates", "groups", "history"])
def test_what_may_not_be_seen(browser: Browser, page: str) -> None:
    """A bucket that is not there is not said to be empty."""
    browser.get(f"/buckets/never-there/{page}", 403)


def test_history_of_what_never_was(browser: Browser, session: Session, at: str) -> None:
    """It is not said to be deleted."""
    for path in (f"{at}/records/never/history", f"{at}-never/history"):
        browser.get(path, 404)
        assert "never there" in browser.said
    browser.get(f"{at}/history")


def test_a_stream_from_nowhere(browser: Browser, session: Session, at: str) -> None:
    """A token that is none is refused before a stream begins."""
    browser.get(f"{at}/changes/stream?since=x", 422)


def test_what_is_there_already(browser: Browser, session: Session, at: str) -> None:
    """It is said of each kind, and an empty name is none."""
    bucket = f"/buckets/{session.bucket}"
    Group(id="g", members=[]).save()
    for page, action, id in [
        ("/", "/buckets", str(session.bucket)),
        (bucket, f"{bucket}/collections", "todos"),
        (f"{bucket}/groups", f"{bucket}/groups", "g"),
    ]:
        browser.get(page)
        browser.send(action, 409, id=id)
        assert "of this name already" in browser.said
    browser.get(f"{bucket}/templates")
    browser.send(f"{bucket}/templates", 422, name=" ")


def test_a_form_sent_twice(browser: Browser, session: Session, at: str) -> None:
    """It makes one record, also where the page chooses the id."""
    browser.get(f"{at}/new")
    form = browser.form(f"{at}/new").values | {"name:0": "x", "new:0": "1"}
    answers = [browser.client.post(f"{at}/new", data=form).status_code for _ in range(2)]
    assert answers == [200, 409]
    assert Record.find().count() == 1


def test_addresses_of_forms(browser: Browser, session: Session, at: str) -> None:
    """Who loads one leads to what it was for; what no page takes is refused by a page."""
    record("a", x=1)
    Template(name="t", source="x").save()
    for path in (f"{at}/records/a/merge", f"/buckets/{session.bucket}/templates/t/preview"):
        browser.get(path)
        assert browser.page.url.path == path.rpartition("/")[0]
    browser.page = browser.client.put(f"{at}/records/a", json={})
    assert browser.page.status_code == 405
    assert "Begin again" in browser.said


def test_what_was_written_before_a_conflict(browser: Browser, session: Session, at: str) -> None:
    """It is on the page also when its second step is refused; only what differs is sent again."""
    theirs = record("a", x="old", y="same" * 1000)
    browser.get(f"{at}/records/a")
    theirs["x"] = "theirs"
    theirs.save()
    browser.send(f"{at}/records/a", 409, **{"value:x": "mine to keep"})
    form = browser.form(f"{at}/records/a/merge").values
    assert max(len(form["base"]), len(form["mine"])) < 500
    shown = browser.page
    browser.send(f"{at}/records/a/merge", 422)
    assert "mine to keep" in browser.said
    browser.page = shown
    browser.send(f"{at}/records/a/merge", 403, csrf="x")
    assert "mine to keep" in browser.said
    browser.page = shown
    browser.client.cookies.clear()
    browser.send(f"{at}/records/a/merge", 401)
    assert "mine to keep" in browser.said


def test_both_changed_it_to_the_same(browser: Browser, session: Session, at: str) -> None:
    """That is not said to be contested, and it is not said that the fields are others."""
    theirs = record("a", x=1, y=1)
    browser.get(f"{at}/records/a")
    theirs["x"] = 2
    theirs.save()
    browser.send(f"{at}/records/a", 409, **{"value:x": "2", "value:y": "2"})
    assert "both changed it" not in browser.said
    assert "you wrote the same" in browser.said
    assert "changed other fields" not in browser.said
    browser.send(f"{at}/records/a/merge")
    assert (Record.get("a")["x"], Record.get("a")["y"]) == (2, 2)


def test_what_is_too_large_is_said_first(browser: Browser, session: Session, at: str) -> None:
    """A form that would not be taken is not offered."""
    record("a", x="x" * 4_000_000)
    browser.get(f"{at}/records/a")
    assert "too large to be changed here" in browser.said
    assert not re.search(r">Save<", browser.text)


def test_a_page_that_was_refused_warns(browser: Browser, session: Session, at: str) -> None:
    """What is on it is not saved: leaving it asks."""
    record("a", x=1)
    assert "data-written" not in browser.get(f"{at}/records/a")
    assert "data-written" in browser.send(f"{at}/records/a", 422, **{"value:x": "no"})


def test_a_record_nested_deeply_hides_no_other(browser: Browser, session: Session, at: str) -> None:
    """It is shown in the table as it is stored; its own page says why it cannot be changed here."""
    record("a", x="the first")
    put_nested(session, "deep", 300)
    browser.get(at)
    assert "the first" in browser.text
    assert "/records/deep" in browser.text
    browser.get(f"{at}/changes")
    assert "/records/deep" in browser.text
    browser.get(f"{at}/records/deep", 422)
    assert "nested deeper than 200 levels" in browser.said
    assert "kinto-orm get" in browser.said


def test_a_key_nested_deeply_hides_no_other(browser: Browser, session: Session) -> None:
    """The tree has both; kvp.io's own clients write values into long paths."""
    session.kv.set("plain", 1)
    put_nested(session, "deep", 300, "kv")
    browser.get(f"/buckets/{session.bucket}/keys")
    assert "plain 1" in browser.said
    assert "deep" in browser.said
