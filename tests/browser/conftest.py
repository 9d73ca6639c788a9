"""A headless Chromium, a Kinto, and a page over it; whatever a page complains of is a failure."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from browser.chromium import MISSING, find
from web_page.reader import USER
from web_page.serving import served
from web_page.shop import kinto, session

__all__ = ["kinto", "session"]  # the fixtures of both browsers

ROOT = next(each for each in Path(__file__).parents if (each / "pyproject.toml").exists())
SHOTS = ROOT / "build" / "browser"


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A browser without a window."""
    # Who is root, as in a container, has no sandbox; the page is our own.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    # That of this machine: none is downloaded.
    path = find()
    assert path is not None, MISSING
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def address(kinto: str) -> Iterator[str]:
    """The page's address."""
    with served(kinto) as url:
        yield url


# What a screen is like on which the page has to be good.
SCREENS: dict[str, dict[str, Any]] = {
    "wide-light": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light"},
    "wide-dark": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"},
    "narrow-light": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
    "narrow-dark": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"},
}


class Window:
    """A window of the browser, which remembers what its pages complain of.

    Attributes:
        page: Playwright's page.
        complaints: What stood in the console as an error, and what scripts raised.
    """

    def __init__(self, context: BrowserContext, address: str, name: str) -> None:
        self.page: Page = context.new_page()
        self.address = address
        self.name = name
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._hear)
        self.page.on("request", self._watch)

    def _hear(self, message: Any) -> None:
        # That an answer is a 4xx or 5xx is said of each page of an error, which is meant.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def _watch(self, request: Any) -> None:
        if not request.url.startswith((self.address, "data:", "about:")):
            self.complaints.append(f"asked another host: {request.url}")

    def open(self, path: str) -> Page:
        """Load a page."""
        self.page.goto(self.address + path)
        return self.page

    def log_in(self, user: str = USER[0], password: str = USER[1]) -> Page:
        """Log in by the form."""
        self.open("/login")
        self.page.get_by_label("User").fill(user)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Log in", exact=True).click()
        self.page.get_by_role("heading", name="Buckets").wait_for()
        return self.page

    def shoot(self, what: str) -> None:
        """Keep a picture of the whole page, and check that it fits on the screen."""
        self.check()
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{what}-{self.name}.png", full_page=True)

    def check(self) -> None:
        """Nothing complained, and nothing scrolls sideways."""
        assert self.complaints == []
        wide = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{self.page.url} is {wide} pixels too wide"


@pytest.fixture
def opening(chromium: Browser, address: str) -> Iterator[Callable[..., Window]]:
    """Opens windows; each is a visitor of its own."""
    opened: list[tuple[Window, BrowserContext]] = []

    def window(screen: str = "wide-light", at: str = address, **options: Any) -> Window:
        context = chromium.new_context(**SCREENS[screen], **options)
        context.set_default_timeout(20_000)
        opened.append((Window(context, at, screen), context))
        return opened[-1][0]

    yield window
    for each, context in opened:
        each.check()
        context.close()


@pytest.fixture
def window(opening: Callable[..., Window]) -> Window:
    """A window in which somebody is logged in."""
    found = opening()
    found.log_in()
    return found
