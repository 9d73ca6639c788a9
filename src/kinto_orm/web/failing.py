"""The pages that say what went wrong, and what to do."""

from __future__ import annotations

from urllib.parse import unquote

from starlette.responses import Response

from kinto_orm.web.calls import Call
from kinto_orm.web.pages import page, pretty
from kinto_orm.web.refusals import NotLoggedIn, explained

_HIDDEN = frozenset(
    {"csrf", "user", "password", "token", "base", "theirs", "mine", "next", "shapes", "fresh"}
)


def failure(call: Call, error: Exception) -> Response:
    """The page of an error."""
    told = explained(error)
    return page(call, "failure.html", told.status, told=told, up=_up(call), kept=_kept(call))


def logged_out(call: Call, error: NotLoggedIn) -> Response:
    """The way to log in; what somebody had filled in before is shown, so that it is not lost."""
    if call.request.method == "GET":
        return call.goto(call.at("login", next=error.wanted))
    return page(call, "login.html", 401, next="", kept=_kept(call), user="", told=None)


def _kept(call: Call) -> list[tuple[str, str]]:
    """What somebody had filled in, by its name: it is not lost when it is not taken."""
    filled_in = [
        (name.partition(":")[2] or name, text)
        for name, text in call.form.pairs
        if name not in _HIDDEN and not name.startswith("state:") and text.strip()
    ]
    return filled_in + _mine(call)


def _mine(call: Call) -> list[tuple[str, str]]:
    """What was written before a conflict, which the form of that carries."""
    found = call.site.seal.peek(call.form.get("mine"))
    mine = found.get("was") if isinstance(found, dict) else None
    if not isinstance(mine, dict):
        return []
    return [(name, value if isinstance(value, str) else pretty(value))
            for name, value in mine.items()]  # fmt: skip


def _up(call: Call) -> str:
    """The page one level up: of the collection, of the bucket, of all buckets."""
    root = call.request.scope.get("root_path", "")
    parts = call.path.removeprefix(root).strip("/").split("/")
    level = next((size for size in (6, 4, 2) if size < len(parts)), 0)
    return call.at(*map(unquote, parts[:level]))
