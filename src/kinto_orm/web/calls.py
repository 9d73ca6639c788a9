"""A request to the page, with who asks and what was filled in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from kinto_orm.async_session import AsyncSession
from kinto_orm.web.refusals import NotLoggedIn
from kinto_orm.web.site import Site
from kinto_orm.web.visits import Visit

# The name under which forms carry what only this page can have put there.
GUARD: Final = "csrf"
# Each takes far more room than its text does.
MOST_FIELDS: Final = 5000
MOST_BYTES: Final = 16 * 2**20


class Form:
    """What was filled in: texts by name, each perhaps several times."""

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self.pairs = list(pairs)

    @classmethod
    def of(cls, body: bytes) -> Form:
        """The form that a browser sent.

        Raises:
            ValueError: It is none.
        """
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict",
                          max_num_fields=MOST_FIELDS)  # fmt: skip
        # Browsers write each line break of a form as two characters.
        return cls((name, value.replace("\r\n", "\n")) for name, value in pairs)

    def get(self, name: str, default: str = "") -> str:
        """What was last given under a name."""
        return next((value for each, value in reversed(self.pairs) if each == name), default)

    def has(self, name: str) -> bool:
        """Whether anything was given under a name."""
        return any(each == name for each, _ in self.pairs)


@dataclass(eq=False)
class Call:
    """One request.

    Attributes:
        request: As it came.
        site: The page as a whole.
        visit: Who asks.
        form: What was filled in; empty for what only reads.
    """

    request: Request
    site: Site
    visit: Visit
    form: Form = field(default_factory=Form)

    @property
    def session(self) -> AsyncSession:
        """Over which the server is asked.

        Raises:
            NotLoggedIn: Nobody is logged in.
        """
        if self.visit.session is None:
            raise NotLoggedIn(self.here)
        return self.visit.session

    def scope(self) -> AsyncSession:
        """The session in the bucket and the collection that the path names."""
        named = self.request.path_params
        return self.session.scoped(bucket=named.get("bucket"), collection=named.get("collection"))

    def named(self, name: str) -> str:
        """What the path has under a name."""
        return str(self.request.path_params[name])

    def asked(self, name: str, default: str = "") -> str:
        """What the query string has under a name."""
        return str(self.request.query_params.get(name, default))

    @property
    def path(self) -> str:
        """The path of this very page, as it was asked for; the header Host counts for nothing."""
        return quote(str(self.request.scope["path"]), safe="/")

    @property
    def here(self) -> str:
        """The path and query of this very page."""
        query = self.request.scope["query_string"].decode("latin-1")
        return self.path + (f"?{query}" if query else "")

    def at(self, *parts: str, **query: object) -> str:
        """The path of a page, quoted; arguments without a value are left out."""
        root: str = self.request.scope.get("root_path", "")
        path = root + "/" + "/".join(quote(each, safe="") for each in parts)
        return path + query_of(query)

    def again(self, **changes: object) -> str:
        """This page with other arguments."""
        given: dict[str, object] = {}
        for name in self.request.query_params:
            given[name] = self.request.query_params.getlist(name)
        return self.path + query_of(given | changes)

    def goto(self, path: str) -> Response:
        """Send the browser to a page."""
        return RedirectResponse(path, status_code=303)


def query_of(given: Mapping[str, object]) -> str:
    """A query string with its question mark; nothing where nothing is given."""
    pairs = {name: value for name, value in given.items() if value not in (None, "", [])}
    return f"?{urlencode(pairs, doseq=True)}" if pairs else ""
