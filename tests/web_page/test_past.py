"""History, what was deleted, and changes as they come."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import pytest
import requests

from deep import put_nested
from kinto_orm import Record, Session
from kinto_orm.web.past import differences
from web_page.reader import USER, Browser, record
from web_page.serving import served


def test_differences() -> None:
    """Field by field, into objects, and as JSON has it: true is not 1."""
    old = {"a": 1, "b": {"c": 1, "d": [1]}, "gone": None, "same": {"x": [1]}}
    new = {"a": True, "b": {"c": 2, "d": [1]}, "new": 0, "same": {"x": [1]}}
    found = {each.name: (each.old, each.new) for each in differences(old, new)}
    assert found == {
        "a": ([1], [True]),
        "b.c": ([1], [2]),
        "gone": ([None], []),
        "new": ([], [0]),
    }


def test_history_is_a_list_of_differences(browser: Browser, session: Session, at: str) -> None:
    """The newest first: what changed, when, and by whom."""
    changing = record("a", title="first", prio=1)
    changing["title"] = "second"
    changing.save()
    browser.get(f"{at}/records/a/history")
    said = browser.said
    assert said.index("Changed") < said.index("Created")
    assert "title first second" in said
    assert "by you (tom)" in said
    assert "as it is now" in said


def test_bringing_back(browser: Browser, session: Session, at: str) -> None:
    """A record becomes what it was, if nobody changed it since the page was loaded."""
    changing = record("a", title="first", more=1)
    changing["title"] = "second"
    changing.save()
    browser.get(f"{at}/records/a/history")
    shown = browser.page
    browser.send(f"{at}/records/a/bring-back")
    assert "It is what it was then" in browser.said
    assert Record.get("a")["title"] == "first"
    browser.page = shown
    browser.send(f"{at}/records/a/bring-back", 409)
    assert "Somebody changed it since" in browser.said
    browser.page = shown
    browser.send(f"{at}/records/a/bring-back", 422, when="soon")


def test_bringing_back_what_was_deleted(browser: Browser, session: Session, at: str) -> None:
    """It is found among what was deleted, and is there again."""
    browser.get(f"{at}/deleted")
    assert "Nothing that was deleted" in browser.said
    record("a", title="<first>").delete()
    record("b", title="still here")
    browser.get(f"{at}/deleted")
    assert "title <first>" in browser.said
    assert "still here" not in browser.said
    browser.get(f"{at}/records/a", 404)
    browser.get(f"{at}/records/a/history")
    assert "It is deleted" in browser.said
    browser.send(f"{at}/records/a/bring-back")
    assert Record.get("a")["title"] == "<first>"


def test_history_of_all(browser: Browser, session: Session, at: str) -> None:
    """Of a collection and of a bucket, with links to what was changed, page by page."""
    for number in range(25):
        record(f"r{number}", n=number)
    browser.get(f"{at}/history")
    assert "Created: r24 record" in browser.said
    following = re.search(r'href="([^"]*)" rel="next"', browser.text)
    assert following is not None
    browser.get(following[1].replace("&amp;", "&"))
    assert "Created: r0 record" in browser.said
    browser.get(f"/buckets/{session.bucket}/history")
    assert f'href="{at}/records/r24"' in browser.text


def test_changes_without_javascript(browser: Browser, session: Session, at: str) -> None:
    """The page shows what was changed last, and shows more when it is loaded again."""
    browser.get(f"{at}/changes")
    assert "Nothing happened here yet" in browser.said
    record("a", x="one")
    record("b", x="two")
    browser.get(f"{at}/changes")
    assert browser.said.index("two") < browser.said.index("one")


def test_changes_as_they_come(kinto: str, session: Session, at: str) -> None:
    """What happens after the page was loaded is told, each time once, and it can be gone on."""
    record("old", x=0)
    with served(kinto, auth=USER) as url, requests.Session() as client:
        page = client.get(f"{url}{at}/changes", timeout=30).text
        stream = re.search(r'data-stream="([^"]*)"', page)
        assert stream is not None
        address = url + stream[1].replace("&amp;", "&")
        changing = record("new", x="<1>")
        with client.get(address, stream=True, timeout=30) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            events = told(answer.iter_lines(decode_unicode=True))
            token, first = next(events)
            assert (first["id"], first["what"], first["data"]) == ("new", "created", '{"x": "<1>"}')
            assert first["href"] == f"{at}/records/new"
            changing["x"] = 2
            changing.save()
            assert next(events)[1]["what"] == "updated"
            changing.delete()
            assert next(events)[1]["what"] == "deleted"
        again = client.get(address, stream=True, timeout=30, headers={"Last-Event-ID": token})
        with again as answer:
            assert next(told(answer.iter_lines(decode_unicode=True)))[1]["what"] == "deleted"


def told(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """The events of a stream, with the token of each."""
    token = ""
    for line in lines:
        if line.startswith("id: "):
            token = line.removeprefix("id: ")
        elif line.startswith("data: "):
            yield token, json.loads(line.removeprefix("data: "))


@pytest.mark.parametrize("path", ["history", "deleted", "changes", "permissions"])
def test_a_collection_that_is_not_there(
    opening: Callable[..., Browser], session: Session, path: str
) -> None:
    """Each page of it says so, or shows that nothing is known."""
    browser = opening().log_in()
    answer = browser.client.get(f"/buckets/{session.bucket}/collections/nowhere/{path}")
    assert answer.status_code in (200, 404)


def test_what_is_nested_too_deeply(browser: Browser, session: Session, at: str) -> None:
    """It is said, and all else is shown and can be brought back."""
    record("a", title="first")
    put_nested(session, "a", 300)
    put_nested(session, "gone", 300)
    session.request("DELETE", f"{at}/records/gone")
    for page in (f"{at}/records/a/history", f"{at}/history"):
        browser.get(page)
        assert "What it was then cannot be shown here" in browser.said
        assert "title first" in browser.said
    browser.get(f"{at}/records/gone/history")
    assert "It is deleted" in browser.said
    assert "What it was before cannot be shown here" in browser.said
    browser.get(f"{at}/deleted")
    assert "gone" in browser.said
    put_nested(session, "a", 2)
    browser.get(f"{at}/records/a/history")
    assert browser.said.index("as it is now") < browser.said.index("What it was then")
    browser.send(f"{at}/records/a/bring-back")
    assert Record.get("a")["title"] == "first"
