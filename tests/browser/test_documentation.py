"""The documentation in a browser: each page on each screen, its links, and the search."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
from playwright.sync_api import Browser, expect

from browser.building import DOCS, PAGES, built, on_a_port
from browser.conftest import SCREENS, Window

# Of these there are pictures in build/browser.
SHOWN = {"index", "tutorial", "reference", "async", "comparison", "errors"}

# What somebody types who has a question, and where it is answered.
SEARCHED = Path(__file__).with_name("searched.txt")
_QUESTION = re.compile(r"^\*\*(.+?)\*\*\n: (.+?)(?=\n\n|\Z)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([\w-]+)\.md(#[\w-]+)?\)")


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


@pytest.fixture
def search(reader: Window) -> Callable[[str], list[str]]:
    """Gives the places that the search page finds, the best one first."""
    page = reader.open("/search.html?q=saving")
    page.locator("#search-results ul.search li a").first.wait_for()
    return partial(page.evaluate, _ASKED)


# What the search page is asked, without the passages that it loads for whoever reads them.
_ASKED = """words => Search._performSearch(...Search._parseQuery(words))
    .map(([page, , anchor]) => page + anchor).reverse()"""


def searched() -> Iterator[tuple[str, set[str]]]:
    """What is typed, each with the pages and sections that answer it."""
    answers: set[str] = set()
    for line in SEARCHED.read_text().splitlines():
        if line.startswith("    "):
            yield line.strip(), answers
        elif line and not line.startswith("#"):
            answers = set(line.split(", "))


def test_words_and_sentences_find_their_answers(search: Callable[[str], list[str]]) -> None:
    """Whoever types what a question is about has an answer among the first three places."""
    missed = {}
    for typed, answers in searched():
        found = search(typed)[:3]
        if not answers & {*found, *(each.partition("#")[0] for each in found)}:
            missed[typed] = found
    assert missed == {}


def test_a_question_finds_the_section_that_answers_it(search: Callable[[str], list[str]]) -> None:
    """Each of the page of questions does, as it is written there, before all others."""
    asked = _QUESTION.findall((DOCS / "questions.md").read_text())
    assert len(asked) > 50
    missed = {}
    for question, answer in asked:
        found = search(question)
        if found[:1] != ["".join(_LINK.findall(answer)[-1])]:
            missed[question] = found[:3]
    assert missed == {}


@pytest.mark.parametrize(
    ("typed", "page"),
    [
        ("pagnation", "queries"),
        ("tiemout", "sessions"),
        ("asnycio", "async"),
        ("opentelemetri", "watching"),
        ("conflcit", "conflicts"),
        ("permisions", "permissions"),
        ("transacton", "saving"),
        ("fastpai", "web"),
    ],
)
def test_misspelt_words(search: Callable[[str], list[str]], typed: str, page: str) -> None:
    """A letter that is missing, another one, or two that are exchanged do not matter."""
    assert page in [each.partition("#")[0] for each in search(typed)[:3]]


def test_what_is_found_is_there(search: Callable[[str], list[str]], pages: Path) -> None:
    """Each section that the search knows is on its page."""
    anchors = {each.stem: _Read(each.read_text()).anchors for each in pages.glob("*.html")}
    written = (pages / "_static" / "section_index.js").read_text()
    known = json.loads(written.removeprefix("SectionSearch = ").rstrip(";\n"))["sections"]
    assert {page for page, *_ in known} == set(PAGES)
    assert [each[:2] for each in known if each[1] and each[1] not in anchors[each[0]]] == []


def test_a_sentence_is_typed(reader: Window) -> None:
    """Its answer is opened from a list that shows the passages, and their number is told."""
    reader.complaints.clear()
    page = reader.open("/index.html")
    page.set_viewport_size(SCREENS["wide-light"]["viewport"])
    page.get_by_placeholder("Search").first.fill("how do I write an OR condition in a query?")
    page.keyboard.press("Enter")
    first = page.locator("#search-results ul.search > li").first
    expect(first.get_by_role("link")).to_have_text("Queries > One of several conditions")
    expect(first.locator("p.context")).to_contain_text("any_of is the OR")
    expect(page.locator(".search-summary")).to_have_text(re.compile(r"^The \d+ places that have"))
    first.get_by_role("link").click()
    expect(page.get_by_role("heading", name="One of several conditions")).to_be_in_viewport()
    reader.check()


def test_nothing_is_found(reader: Window) -> None:
    """Words that nobody wrote are said to be such, also those that JavaScript's objects have."""
    for typed in ("xyzzyplugh", "__proto__", "hasOwnProperty"):
        page = reader.open(f"/search.html?q={typed}")
        expect(page.locator(".search-summary")).to_have_text("No page has any of these words.")
    assert page.locator("#search-results ul.search > li").count() == 0
    reader.check()
