"""Key values as a tree, and templates with source, values and result."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kinto_orm import Session, Template
from web_page.reader import Browser

SOURCE = "listen {{ nginx.port }};\n{% for each in nginx.hosts %}{{ each }} {% endfor %}\n"


def test_keys_are_a_tree(browser: Browser, session: Session) -> None:
    """It opens without JavaScript, with the number of what is inside."""
    page = f"/buckets/{session.bucket}/keys"
    browser.get(page)
    assert "There are no key values here yet" in browser.said
    session.kv["nginx/port"] = 80
    session.kv["nginx/hosts"] = ["a", {"deep": None}]
    session.kv["other.key"] = True
    browser.get(page)
    assert "nginx 2 entries port 80 hosts 2 items 0 a 1 1 entry deep null" in browser.said
    assert "other.key true" in browser.said
    browser.get(f"{page}?prefix=oth")
    assert "nginx" not in browser.said
    browser.get(f"{page}?prefix=zzz")
    assert "No key begins so" in browser.said


def test_a_value_is_stored_and_changed(browser: Browser, session: Session) -> None:
    """Under a path; what is there already is never overwritten by a new one."""
    page = f"/buckets/{session.bucket}/keys"
    browser.get(page)
    browser.send(page, path="app.conf/debug", new="true")
    assert session.kv["app.conf"] == {"debug": True}
    browser.get(page)
    browser.send(page, path="app.conf/name", new="a name")
    assert session.kv["app.conf"] == {"debug": True, "name": "a name"}
    browser.get(page)
    browser.send(page, 409, path="app.conf/debug", new="false")
    browser.get(page)
    browser.send(page, 422, path="a//b", new="1")
    assert "This is no key path" in browser.said
    path = f"{page}/x--app-2econf"
    browser.get(path)
    browser.send(path, 422, json="{")
    assert "this is no JSON" in browser.said
    browser.send(path, json='{"debug": false}')
    assert session.kv["app.conf"] == {"debug": False}
    browser.send(f"{path}/delete")
    assert "app.conf" not in session.kv


def test_two_change_a_key(browser: Browser, session: Session) -> None:
    """The conflict is shown, and solved by choosing."""
    session.kv["k"] = 1
    path = f"/buckets/{session.bucket}/keys/k"
    browser.get(path)
    session.kv["k"] = 2
    browser.send(path, 409, json="3")
    browser.send(f"{path}/merge", **{"pick:value": "mine"})
    assert session.kv["k"] == 3


def test_a_template_beside_its_result(browser: Browser, session: Session) -> None:
    """With the values that it takes; others can be tried without storing them."""
    session.kv["nginx"] = {"port": 80, "hosts": ["a<b>", "c"]}
    Template(name="nginx.conf", source=SOURCE).save()
    page = f"/buckets/{session.bucket}/templates"
    browser.get(page)
    assert "nginx.conf listen {{ nginx.port }};" in browser.said
    path = f"{page}/x--nginx-2econf"
    browser.get(path)
    assert "listen 80; a<b> c" in browser.said
    assert '"port": 80' in browser.said
    form = browser.form(path)
    overrides = '{"nginx": {"port": 8080, "hosts": []}}'
    browser.page = browser.client.post(
        f"{path}/preview",
        data=form.values | {"source": "P {{ nginx.port }}", "overrides": overrides},
    )
    assert "P 8080" in browser.said
    assert Template.get("nginx.conf").source == SOURCE
    assert session.kv["nginx"]["port"] == 80


WRONG = [
    ("{{ nothing }}", "'nothing' is undefined"),
    ("a\n{% if %}", "line 2"),
    ("{{ 1 | unknown }}", "unknown"),
    ("{% for i in range(10**9) %}{% endfor %}", "range"),
    ("{{ ().__class__ }}", "__class__"),
    ("{% include 'nowhere' %}", "nowhere"),
]


@pytest.mark.parametrize(("source", "said"), WRONG)
def test_what_is_wrong_with_a_template(
    browser: Browser, session: Session, source: str, said: str
) -> None:
    """It stands in the place of the result, with the line."""
    Template(name="t", source="fine").save()
    path = f"/buckets/{session.bucket}/templates/t"
    browser.get(path)
    form = browser.form(path)
    browser.page = browser.client.post(f"{path}/preview", data=form.values | {"source": source})
    assert browser.page.status_code == 200
    assert said in browser.said


def test_a_template_is_saved(browser: Browser, session: Session) -> None:
    """With its precondition; one that does not parse is not, and is kept to be mended."""
    page = f"/buckets/{session.bucket}/templates"
    browser.get(page)
    assert "There are no templates here yet" in browser.said
    browser.send(page, name="a b.html")
    path = str(browser.page.url.path)
    browser.send(path, 422, source="{% if %}")
    assert "Nothing was saved" in browser.said
    assert browser.form(path).values["source"] == "{% if %}"
    browser.send(path, source="line 1\r\nline 2\r\n")
    assert Template.get("a b.html").source == "line 1\nline 2\n"
    stored = Template.get("a b.html")
    stored.source = "theirs"
    stored.save()
    browser.send(path, 409, source="mine")
    browser.send(f"{path}/merge", **{"pick:source": "mine"})
    assert Template.get("a b.html").source == "mine"
    browser.get(path)
    browser.send(f"{path}/delete")
    assert Template.get_or_none("a b.html") is None


def test_a_page_that_only_reads_renders(opening: Callable[..., Browser], session: Session) -> None:
    """Nothing is stored by that."""
    Template(name="t", source="old").save()
    browser = opening(read_only=True).log_in()
    path = f"/buckets/{session.bucket}/templates/t"
    browser.get(path)
    browser.send(f"{path}/preview", source="new")
    assert "Result new" in browser.said
    assert Template.get("t").source == "old"


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n", "\r\n\r"])
def test_line_ends_of_a_template(browser: Browser, session: Session, end: str) -> None:
    """Saving what nobody edited changes nothing; they stay where they are of one kind."""
    Template(name="t", source=f"one{end}two{end}").save()
    path = f"/buckets/{session.bucket}/templates/t"
    browser.get(path)
    browser.send(path)
    assert "Nothing had changed" in browser.said
    if end != "\r\n\r":
        browser.send(path, source="one\r\ntwo!\r\n")
        assert Template.get("t").source == f"one{end}two!{end}"
