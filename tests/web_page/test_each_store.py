"""What somebody does on the page, over a Kinto on each store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kinto_orm import Bucket, Collection, Group, Record, Session, Template
from kinto_orm.server import LoopbackServer
from web_page.reader import USER, Browser, record


def test_all_that_the_page_does(
    opening: Callable[..., Browser], backend: Any, loopback: LoopbackServer
) -> None:
    """Found by conditions, sorted, changed, merged, brought back, shared; keys and templates."""
    bucket = backend.new_id("page")
    with Session(loopback.url, auth=USER, bucket=bucket, collection="c"):
        Bucket(id=bucket).save()
        Collection(id="c").save()
        for number in range(3):
            record(f"r{number}", n=number, text=f"text {number}", more=[{"x": None}])
        at = f"/buckets/{bucket}/collections/c"
        browser = opening(loopback.url).log_in()
        browser.get(f"{at}?q=n>0 text~t*&sort=-n")
        assert "2 records" in browser.said
        assert browser.said.index("text 2") < browser.said.index("text 1")
        browser.get(f"{at}/records/r1")
        theirs = Record.get("r1")
        theirs["text"] = "theirs"
        theirs.save()
        browser.send(f"{at}/records/r1", 409, **{"value:n": "7", "value:text": "mine"})
        browser.send(f"{at}/records/r1/merge", **{"pick:text": "mine"})
        stored = Record.get("r1")
        assert (stored["n"], stored["text"], stored["more"]) == (7, "mine", [{"x": None}])
        browser.get(f"{at}/records/r1/history")
        assert browser.said.count("Bring this back") == 2
        browser.send(f"{at}/records/r1/bring-back")
        assert Record.get("r1")["text"] == "theirs"
        browser.get(f"{at}/records/r2")
        browser.send(f"{at}/records/r2/delete")
        browser.get(f"{at}/deleted")
        assert "r2" in browser.said
        browser.get(f"{at}/records/r2/history")
        browser.send(f"{at}/records/r2/bring-back")
        assert Record.get("r2")["n"] == 2
        browser.get(f"{at}/records/r2/permissions")
        browser.send(f"{at}/records/r2/permissions", who="system.Everyone", permission="read")
        assert Record.get("r2").permissions.read == {"system.Everyone"}
        share(browser, bucket)
        browser.get(f"{at}/changes")
        assert browser.said.index("r2") < browser.said.index("r0")


def share(browser: Browser, bucket: str) -> None:
    """A group, a key and a template."""
    browser.get(f"/buckets/{bucket}/groups")
    browser.send(f"/buckets/{bucket}/groups", id="g")
    browser.send(f"/buckets/{bucket}/groups/g", members="x:a")
    assert Group.get("g").members == ["x:a"]
    browser.get(f"/buckets/{bucket}/keys")
    browser.send(f"/buckets/{bucket}/keys", path="app/port", new="80")
    browser.get(f"/buckets/{bucket}/templates")
    browser.send(f"/buckets/{bucket}/templates", name="conf")
    browser.send(f"/buckets/{bucket}/templates/conf", source="listen {{ app.port }}")
    assert "Result listen 80" in browser.said
    assert Template.get("conf").source == "listen {{ app.port }}"
