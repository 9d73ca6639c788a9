"""A browser without JavaScript: it reads pages, and fills in and sends their forms."""

from __future__ import annotations

import html
import re
from typing import Any

import httpx
from starlette.testclient import TestClient

from kinto_orm import Record

HERE = "http://127.0.0.1:9000"
USER = ("tom", "s3cret-p4ss")

_FORM = re.compile(r"<form\b([^>]*)>(.*?)</form>", re.DOTALL)
_CONTROL = re.compile(r"<(input|textarea|select)\b([^>]*)>(?:\n?(.*?)</\1>)?", re.DOTALL)
_OPTION = re.compile(r'<option value="([^"]*)"( selected)?')
_ATTRIBUTE = re.compile(r'([\w:-]+)(?:="([^"]*)")?')


def attributes(text: str) -> dict[str, str]:
    """The attributes of a tag."""
    return {name: html.unescape(value) for name, value in _ATTRIBUTE.findall(text)}


class Form:
    """A form of a page, filled in as the page has it.

    Attributes:
        action: Where it is sent.
        values: What is sent.
    """

    def __init__(self, tag: str, inside: str) -> None:
        self.action = attributes(tag)["action"]
        self.values: dict[str, str] = {}
        for kind, tag, content in _CONTROL.findall(inside):
            self._take(kind, attributes(tag), content)

    def _take(self, kind: str, given: dict[str, str], content: str) -> None:
        if "name" not in given or given.get("type") in ("radio", "checkbox"):
            return
        value = given.get("value", "")
        if kind == "textarea":
            # As browsers do: line breaks are sent as two characters.
            value = html.unescape(content).replace("\n", "\r\n")
        elif kind == "select":
            options = _OPTION.findall(content)
            chosen = [value for value, selected in options if selected]
            value = html.unescape((chosen or [options[0][0]])[0])
        self.values[given["name"]] = value


class Browser:
    """Reads pages, and sends their forms.

    Attributes:
        page: The answer that it shows.
    """

    def __init__(self, client: TestClient) -> None:
        self.client = client
        self.page: httpx.Response

    def get(self, path: str, status: int = 200, **options: Any) -> str:
        """Load a page."""
        self.page = self.client.get(path, **options)
        assert self.page.status_code == status, self.text
        return self.text

    @property
    def text(self) -> str:
        """What the page says, as it is written."""
        return self.page.text

    @property
    def said(self) -> str:
        """What a reader sees: without tags, and with blanks between."""
        found = re.sub(r"<(script|style).*?</\1>", " ", self.page.text, flags=re.DOTALL)
        return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", found)).split())

    def form(self, action: str) -> Form:
        """The form that is sent to a path, of the page that is shown."""
        forms = [Form(tag, inside) for tag, inside in _FORM.findall(self.page.text)
                 if "action=" in tag]  # fmt: skip
        found = [each for each in forms if each.action == action]
        assert found, (action, [each.action for each in forms])
        return found[0]

    def send(self, action: str, status: int = 200, /, **changes: str) -> str:
        """Send a form of the page that is shown, with some values changed."""
        form = self.form(action)
        self.page = self.client.post(action, data=form.values | changes)
        assert self.page.status_code == status, self.said
        return self.text

    def log_in(self, user: str = USER[0], password: str = USER[1]) -> Browser:
        """Log in."""
        self.get("/login")
        self.send("/login", user=user, password=password)
        return self


def record(id: str, **fields: Any) -> Record:
    """Store a record."""
    new = Record(id=id)
    for name, value in fields.items():
        new[name] = value
    return new.save()
