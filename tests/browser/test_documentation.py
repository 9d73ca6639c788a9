"""The documentation in a browser: each page on each screen, its links, and the search."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
from playwright.sync_api import Browser, expect

from browser.building import PAGES, built, on_a_port
from browser.conftest import SCREENS, Window

# Of these there are pictures in build/browser.
SHOWN = {"index", "tutorial", "reference", "async", "comparison", "errors"}

# What somebody types who has a question, and the page that answers it.
SEARCHED = {
    "install": "extras",
    "password": "sessions",
    "asyncio": "async",
    "fastapi": "web",
    "django": "web",
    "rename field": "migrations",
    "migration": "migrations",
    "foreign key": "links",
    "upload": "limits",
    "transaction": "limits",
    "offset": "queries",
    "pagination": "queries",
    "index": "schema",
    "sort": "queries",
    "count": "queries",
    "sum": "limits",
    "overwrite": "conflicts",
    "conflict": "conflicts",
    "upsert": "upserting",
    "counter": "partial-updates",
    "bulk": "batches",
    "undo": "history",
    "csv": "importing",
    "share": "permissions",
    "user account": "accounts",
    "forbidden": "errors",
    "subscribe": "changes",
    "pytest": "testing",
    "logging": "watching",
    "timeout": "sessions",
    "thread": "sessions",
    "nginx": "production",
    "backup": "dumps",
    "copy server": "moving",
    "kinto-http": "coming-from-kinto-client",
    "jupyter": "notebooks",
    "pandas": "notebooks",
    "jinja": "templates",
    "admin": "browse",
    "sqlite": "embedded",
    "offline": "embedded",
}


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the built pages are."""
    return built(tmp_path_factory.mktemp("documentation"))


@pytest.fixture(scope="session")
def site(pages: Path) -> Iterator[str]:
    """Their address."""
    with on_a_port(pages) as url:
        yield url


@pytest.fixture(scope="module")
def reader(chromium: Browser, site: str) -> Iterator[Window]:
    """A window in which they are read."""
    context = chromium.new_context()
    context.set_default_timeout(20_000)
    yield Window(context, site, "docs")
    context.close()


@pytest.mark.parametrize("page", PAGES)
def test_each_page_on_each_screen(reader: Window, page: str) -> None:
    """Nothing scrolls sideways, nothing complains, nothing is asked of another host."""
    reader.complaints.clear()
    reader.open(f"/{page}.html")
    for name, screen in SCREENS.items():
        reader.page.set_viewport_size(screen["viewport"])
        reader.page.emulate_media(color_scheme=screen["color_scheme"])
        if page in SHOWN:
            reader.name = name
            reader.shoot(f"docs-{page}")
        reader.check()


class _Read(HTMLParser):
    """What a page has: the anchors in it, and where it leads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("id", "name"):
                self.anchors.add(value or "")
            elif name in ("href", "src"):
                self.links.add(value or "")


def test_no_link_is_broken(pages: Path) -> None:
    """Each leads to a page, a file or an anchor that is there."""
    read = {each.name: _Read(each.read_text()) for each in pages.glob("*.html")}
    assert len(read) > len(PAGES)
    broken = []
    for page, found in read.items():
        for link in found.links:
            whole, anchor = urldefrag(urljoin(f"http://docs/{page}", link))
            path = unquote(urlsplit(whole).path).lstrip("/") or "index.html"
            if urlsplit(link).scheme or path == "404.html" != page:
                continue
            there = path in read and (not anchor or unquote(anchor) in read[path].anchors)
            if not there and not (path not in read and (pages / path).is_file()):
                broken.append(f"{page}: {link}")
    assert broken == []


def test_the_search_is_used(reader: Window) -> None:
    """A word that is typed beside a page finds others, and one of them is opened."""
    page = reader.open("/index.html")
    page.set_viewport_size(SCREENS["wide-light"]["viewport"])
    page.get_by_role("searchbox").or_(page.get_by_placeholder("Search")).first.fill("precondition")
    page.keyboard.press("Enter")
    page.locator("#search-results ul.search li a").first.wait_for()
    page.locator("#search-results ul.search li a", has_text=re.compile("Saving|save")).first.click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert "highlight=precondition" in page.url or "saving" in page.url
    reader.check()


# What the search of a page is asked, without the excerpts that it loads for whoever reads them.
_ASKED = """words => {
    const [query, terms, excluded, highlighted, objects] = Search._parseQuery(words);
    return Search._performSearch(query, terms, excluded, highlighted, objects)
        .map(each => each[0]).reverse();
}"""


def test_words_find_their_pages(reader: Window) -> None:
    """Whoever types what a question is about has its page among the first five."""
    page = reader.open("/search.html?q=saving")
    page.locator("#search-results ul.search li a").first.wait_for()
    missed = {}
    for typed, wanted in SEARCHED.items():
        found = list(dict.fromkeys(page.evaluate(_ASKED, typed)))
        if wanted not in found[:5]:
            missed[typed] = found[:6]
    assert missed == {}
