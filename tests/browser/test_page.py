"""The page in a browser: what somebody does on it, on each screen, with and without JavaScript."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import expect
from pydantic import Field

from browser.conftest import SCREENS, Window
from kinto_orm import Bucket, Collection, Record, Session, Template
from kinto_orm.server import open_memory, open_sqlite, serve
from web_page.reader import USER
from web_page.serving import served


class Todo(Record, collection="todos"):
    title: str = Field(description="What is to be done")
    state: Literal["open", "waiting", "done"] = "open"
    prio: int = 1
    price: float | None = None
    due: datetime | None = None
    tags: list[str] = []


ROWS = [
    ("report", "Write the report", "open", 3, 74.5, ["work", "urgent"]),
    ("milk", "Buy milk", "done", 1, 1.19, ["home"]),
    ("call", "Call Ada about the offer", "waiting", 2, None, ["work"]),
    ("bike", "Repair the bicycle", "open", 1, 39.0, []),
    ("taxes", "Send the tax return", "open", 3, None, ["home", "urgent"]),
    ("talk", "Prepare the talk", "waiting", 2, 0.0, ["work"]),
]


SOURCE = "listen {{ nginx.port }};\n{% for host in nginx.hosts %}server {{ host }};\n{% endfor %}"


@pytest.fixture
def todos(session: Session) -> str:
    """A few todos with a schema; the path of their page."""
    session.sync_schema(Todo)
    for id, title, state, prio, price, tags in ROWS:
        Todo(id=id, title=title, state=state, prio=prio, price=price, tags=tags).save()
    return f"/buckets/{session.bucket}/collections/todos"


@pytest.mark.parametrize("screen", SCREENS)
def test_each_page_on_each_screen(
    opening: Callable[..., Window], session: Session, todos: str, screen: str
) -> None:
    """Nothing scrolls sideways, nothing complains; a picture of each is in build/browser."""
    todo = Todo.get("report")
    todo.title, todo.state = "Write the annual report", "waiting"
    todo.save()
    todo.permissions.grant("write", "account:alexis").grant("read", "system.Everyone").save()
    Todo.get("milk").delete()
    session.kv["nginx"] = {"port": 8080, "hosts": ["a.example", "b.example"], "tls": None}
    session.kv["very.long." + "key" * 30] = {"value" * 20: ["text" * 50]}
    source = (
        "listen {{ nginx.port }};\n{% for host in nginx.hosts %}\nserver {{ host }};\n{% endfor %}"
    )
    Template(name="nginx.conf", source=source).save()
    Template(name="broken", source="{{ nothing }}").save()
    Bucket.get(session.bucket).groups.new(id="writers", members=["account:alexis"]).save()
    window = opening(screen)
    window.open("/login")
    window.shoot("login")
    window.log_in()
    bucket = f"/buckets/{session.bucket}"
    for name, path in {
        "buckets": "/",
        "bucket": bucket,
        "table": todos,
        "table-found": f"{todos}?q=prio>%3D2+state!%3Ddone&sort=-prio",
        "table-wrong": f"{todos}?q=prio%3D%3D2",
        "record": f"{todos}/records/report",
        "json": f"{todos}/records/report?as=json",
        "new": f"{todos}/new",
        "history": f"{todos}/records/report/history",
        "gone": f"{todos}/records/milk/history",
        "deleted": f"{todos}/deleted",
        "changes": f"{todos}/changes",
        "permissions": f"{todos}/records/report/permissions",
        "bucket-permissions": f"{bucket}/permissions",
        "bucket-history": f"{bucket}/history",
        "groups": f"{bucket}/groups",
        "group": f"{bucket}/groups/writers",
        "keys": f"{bucket}/keys",
        "key": f"{bucket}/keys/nginx",
        "templates": f"{bucket}/templates",
        "template": f"{bucket}/templates/x--nginx-2econf",
        "template-wrong": f"{bucket}/templates/broken",
        "missing": f"{todos}/records/nothing",
    }.items():
        window.open(path)
        window.shoot(name)


def test_a_record_is_found_changed_and_seen(window: Window, session: Session, todos: str) -> None:
    """By a condition in the search line, without loading the page anew; saved by its form."""
    page = window.open(todos)
    page.evaluate("window.stays = true")
    page.keyboard.press("/")
    page.keyboard.type("prio>=3 title~*report*")
    page.keyboard.press("Enter")
    expect(page.locator("[data-swapped] tbody tr")).to_have_count(1)
    assert page.evaluate("window.stays")
    assert "q=prio%3E%3D3" in page.url
    page.get_by_role("link", name="report", exact=True).click()
    page.get_by_label("title", exact=True).fill("Write the annual report")
    page.get_by_label("state", exact=True).select_option(label="done")
    page.get_by_label("due", exact=True).fill("2026-12-31T12:00:00Z")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Saved.")
    todo = session.get(Todo, "report")
    assert (todo.title, todo.state) == ("Write the annual report", "done")
    assert todo.due == datetime.fromisoformat("2026-12-31T12:00:00Z")
    page.go_back()
    page.go_back()
    expect(page.locator("[data-swapped] tbody tr")).to_have_count(1)


def test_a_conflict_is_merged(window: Window, session: Session, todos: str) -> None:
    """Theirs and mine beside each other; a field that both changed is chosen."""
    page = window.open(f"{todos}/records/call")
    theirs = Todo.get("call")
    theirs.title, theirs.prio = "Call Ada at noon", 3
    theirs.save()
    page.get_by_label("title", exact=True).fill("Write to Ada")
    page.get_by_label("state", exact=True).select_option(label="done")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Somebody else was first")
    for text in ("Call Ada about the offer", "Call Ada at noon", "Write to Ada"):
        expect(page.get_by_text(text)).to_be_visible()
    window.shoot("conflict")
    page.get_by_label(re.compile("Take theirs for title")).check()
    window.shoot("conflict-chosen")
    page.get_by_role("button", name="Save both together").click()
    expect(page.get_by_role("status")).to_contain_text("Saved.")
    todo = session.get(Todo, "call")
    assert (todo.title, todo.prio, todo.state) == ("Call Ada at noon", 3, "done")


def test_a_conflict_on_a_narrow_screen(
    opening: Callable[..., Window], session: Session, todos: str
) -> None:
    """The three states are below each other."""
    window = opening("narrow-light")
    window.log_in()
    page = window.open(f"{todos}/records/call")
    theirs = Todo.get("call")
    theirs.title, theirs.tags = "Call Ada at noon", ["work", "phone"]
    theirs.save()
    page.get_by_label("title", exact=True).fill("Write to Ada")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Somebody else was first")
    window.shoot("conflict")


def test_something_is_brought_back(window: Window, session: Session, todos: str) -> None:
    """From the history of a record; and what was deleted, from the list of that."""
    todo = Todo.get("bike")
    todo.title = "Sell the bicycle"
    todo.save()
    page = window.open(f"{todos}/records/bike/history")
    expect(page.locator(".diff .old").first).to_have_text("Repair the bicycle")
    page.get_by_role("button", name="Bring this back").click()
    expect(page.get_by_label("title", exact=True)).to_have_value("Repair the bicycle")
    assert session.get(Todo, "bike").title == "Repair the bicycle"
    page.get_by_text("Delete…").click()
    page.get_by_role("button", name="Delete it").click()
    page.get_by_role("link", name="Deleted").click()
    page.get_by_role("link", name="bike").click()
    page.get_by_role("button", name="Bring this back").first.click()
    assert session.get(Todo, "bike").title == "Repair the bicycle"


def test_a_permission_is_granted(window: Window, session: Session, todos: str) -> None:
    """In words, and taken away again."""
    page = window.open(f"{todos}/records/report/permissions")
    page.get_by_label("Who", exact=True).select_option(label="everyone who is logged in")
    page.get_by_label("can", exact=True).select_option(label="read this record")
    page.get_by_role("button", name="Grant it").click()
    expect(page.get_by_role("status")).to_contain_text("everyone who is logged in can now read")
    assert session.get(Todo, "report").permissions.read == {"system.Authenticated"}
    page.get_by_role("button", name=re.compile("Take it from everyone")).click()
    expect(page.get_by_role("status")).to_contain_text("no longer")
    assert session.get(Todo, "report").permissions.read == set()


def test_wrong_input(window: Window, session: Session, todos: str) -> None:
    """It is said where it is, and what was written stays."""
    page = window.open(f"{todos}/records/report")
    page.get_by_label("prio", exact=True).fill("many")
    page.get_by_label("title", exact=True).fill("Kept")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("a whole number is wanted here")).to_be_visible()
    expect(page.get_by_label("title", exact=True)).to_have_value("Kept")
    window.shoot("record-wrong")
    # What is no JSON is not even sent.
    page.get_by_label("prio", exact=True).fill("2")
    page.get_by_label("tags", exact=True).fill("[1,")
    page.get_by_role("button", name="Save").click()
    assert page.get_by_label("tags", exact=True).evaluate("each => each.validationMessage")
    page.get_by_label("tags", exact=True).fill("[]")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Saved.")
    page = window.open(todos)
    page.get_by_label("Find records").fill("prio==3")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("== is no operator")
    expect(page.get_by_label("Find records")).to_have_value("prio==3")


def test_a_wrong_password_and_a_dead_server(
    opening: Callable[..., Window], session: Session
) -> None:
    """Both are said on a page, and neither loses what was written."""
    settings = {
        "multiauth.policies": "account",
        "multiauth.policy.account.use": "kinto.plugins.accounts.authentication."
        "AccountsAuthenticationPolicy",
    }
    with (
        open_memory(settings=settings) as server,
        serve(server) as running,
        served(running.url) as address,
    ):
        window = opening(at=address)
        page = window.open("/login")
        page.get_by_label("User").fill("tom")
        page.get_by_label("Password").fill("wrong")
        page.get_by_role("button", name="Log in", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("Wrong user, password or token")
        window.shoot("login-wrong")
        running.close()
        page.get_by_label("Password").fill("wrong")
        page.get_by_role("button", name="Log in", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached")
        expect(page.get_by_label("User")).to_have_value("tom")
        window.shoot("server-dead")


def test_changes_come_in(window: Window, session: Session, todos: str) -> None:
    """While the page is open, by themselves."""
    page = window.open(f"{todos}/changes")
    expect(page.locator("#live")).to_contain_text("as they happen")
    Todo(id="fresh", title="<b>New</b>").save()
    row = page.locator("#changes tr").first
    expect(row).to_contain_text("fresh")
    expect(row).to_contain_text("created")
    expect(row).to_contain_text("<b>New</b>")
    todo = Todo.get("fresh")
    todo.title = "Changed"
    todo.save()
    expect(row).to_contain_text("Changed")
    todo.delete()
    expect(row).to_contain_text("deleted")
    window.shoot("changes-live")


def test_a_template_is_rendered_while_it_is_written(window: Window, session: Session) -> None:
    """And its errors are shown; nothing is stored before it is saved."""
    session.kv["port"] = 80
    Template(name="t", source="listen {{ port }};").save()
    page = window.open(f"/buckets/{session.bucket}/templates/t")
    result = page.locator("[data-part=result]")
    expect(result).to_have_text("listen 80;")
    page.get_by_label("Source").fill("listen {{ port }} ssl;")
    expect(result).to_have_text("listen 80 ssl;")
    page.get_by_label("Try other values").fill('{"port": 443}')
    expect(result).to_have_text("listen 443 ssl;")
    page.get_by_label("Source").fill("{{ nothing }}")
    expect(result).to_contain_text("'nothing' is undefined")
    assert Template.get("t").source == "listen {{ port }};"
    page.get_by_label("Source").fill("done")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status").first).to_contain_text("Saved.")
    assert Template.get("t").source == "done"


def test_without_javascript(opening: Callable[..., Window], session: Session, todos: str) -> None:
    """Finding, changing, sorting and turning pages work by links and forms alone."""
    window = opening(java_script_enabled=False)
    window.open("/login")
    page = window.page
    page.get_by_label("User").fill(USER[0])
    page.get_by_label("Password").fill(USER[1])
    page.get_by_role("button", name="Log in", exact=True).click()
    window.page.goto(window.address + todos)
    page.get_by_label("Find records").fill("prio=3")
    page.get_by_role("button", name="Find").click()
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_role("link", name="title").click()
    expect(page.locator("th[aria-sort=ascending]")).to_contain_text("title")
    page.get_by_role("link", name="taxes", exact=True).click()
    page.get_by_label("prio", exact=True).fill("2")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Saved.")
    assert session.get(Todo, "taxes").prio == 2


def test_by_the_keyboard(window: Window, session: Session, todos: str) -> None:
    """The first stop leads past the head; each control has a name and shows that it is reached."""
    page = window.open(todos)
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to the content")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    for path in (todos, f"{todos}/records/report", f"{todos}/records/report/permissions"):
        window.open(path)
        nameless = page.evaluate(NAMELESS)
        assert nameless == []
        assert page.locator("main").count() == page.locator("h1").count() == 1
        assert page.locator("html").get_attribute("lang") == "en"


# Controls without a label, tables without heads, links and buttons without a text.
NAMELESS = """() => [...document.querySelectorAll(
    "input:not([type=hidden]), select, textarea, button, a, table")].filter(each =>
      each.matches("table") ? !each.querySelector("thead th[scope=col]")
      : each.matches("button, a") ? !(each.textContent.trim() || each.ariaLabel)
      : !(each.labels?.length || each.ariaLabel)).map(each => each.outerHTML)"""

# The least contrast of a text with what is behind it, as WCAG counts it.
CONTRAST = """() => {
  const light = text => {
    const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map(Number).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = each => {
    for (let at = each; at; at = at.parentElement) {
      const paint = getComputedStyle(at).backgroundColor;
      if (!/, 0\\)$|transparent/.test(paint)) return paint;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  for (const each of document.querySelectorAll("body *")) {
    const own = [...each.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !each.checkVisibility()) continue;
    const [one, other] = [light(getComputedStyle(each).color), light(behind(each))];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < 4.5) found.push([each.textContent.trim().slice(0, 40), contrast]);
  }
  return found;
}"""


@pytest.mark.parametrize("screen", ["wide-light", "narrow-dark"])
def test_contrast(
    opening: Callable[..., Window], session: Session, todos: str, screen: str
) -> None:
    """Each text has at least 4.5 to 1, light and dark."""
    todo = Todo.get("report")
    todo.price = None
    todo.save()
    window = opening(screen)
    window.log_in()
    for path in (todos, f"{todos}/records/report", f"{todos}/records/report/history",
                 f"{todos}?q=x", f"{todos}/records/report/permissions"):  # fmt: skip
        page = window.open(path)
        assert page.evaluate(CONTRAST) == [], path


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Kinto with a collection of 100,000 records."""
    path = tmp_path_factory.mktemp("large") / "kinto.db"
    with open_sqlite(path, durable=False) as server, serve(server) as running:
        with Session(running.url, auth=USER, bucket="large", collection="rows"):
            Bucket(id="large").save()
            Collection(id="rows").save()
            Record(id="r000000", number=0, name="row 0").save()
        fill(path, 100_000)
        yield running.url


def fill(path: Path, count: int) -> None:
    """Put records beside the first one, as the server would have stored them."""
    with sqlite3.connect(path, isolation_level=None) as file:
        ((resource, now),) = file.execute(
            "SELECT resource, last_modified FROM objects WHERE id = 'r000000'"
        )
        file.execute("BEGIN IMMEDIATE")
        file.executemany(
            "INSERT INTO objects (resource, id, last_modified, data) VALUES (?, ?, ?, ?)",
            (
                (resource, f"r{n:06}", now + n, f'{{"number": {n}, "name": "row {n}"}}')
                for n in range(1, count)
            ),
        )
        file.execute(
            "UPDATE resources SET last_modified = ? WHERE key = ?", (now + count, resource)
        )
        file.execute("COMMIT")
    file.close()


def test_100_000_records(opening: Callable[..., Window], large: str) -> None:
    """They are counted, found, sorted and paged, fifty at a time."""
    with served(large) as address:
        window = opening(at=address)
        window.log_in()
        page = window.open("/buckets/large")
        expect(page.get_by_role("row", name=re.compile("rows"))).to_contain_text("100,000")
        page.get_by_role("link", name="rows").click()
        count = page.locator(".count")
        expect(count).to_have_text("1 to 50 of 100,000 records")
        page.get_by_role("link", name="Next page").click()
        expect(count).to_have_text("51 to 100 of 100,000 records")
        page.get_by_role("link", name="Previous").click()
        expect(count).to_have_text("1 to 50 of 100,000 records")
        page.get_by_role("link", name="number").click()
        expect(page.locator("th[aria-sort=ascending]")).to_contain_text("number")
        page.get_by_role("link", name="number").click()
        expect(page.locator("tbody tr").first).to_contain_text("99999")
        page.get_by_label("Find records").fill("number in 5,77777 name~*7*")
        page.keyboard.press("Enter")
        expect(count).to_have_text("1 record")
        window.shoot("large")
        page.get_by_label("Find records").fill("number>=99000")
        page.keyboard.press("Enter")
        expect(count).to_have_text("1 to 50 of 1,000 records")
        window.check()
