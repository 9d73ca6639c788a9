"""What stands before every page: who may ask, from where, and what the browser may load."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kinto_orm.errors import KintoError
from kinto_orm.web.calls import GUARD, MOST_BYTES, Call, Form
from kinto_orm.web.failing import failure, logged_out
from kinto_orm.web.refusals import NotLoggedIn, Refused
from kinto_orm.web.site import Site
from kinto_orm.web.visits import Visit

Endpoint = Callable[[Call], Awaitable[Response]]

HEADERS: Final = {
    # Nothing of another host, and nothing that stands in the page itself: what somebody stored
    # as a value cannot become a script.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # With "no-referrer" browsers would leave out the Origin of forms, too.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
# Of somebody who is not logged in; more than a login page needs.
_MOST_OF_ANYBODY: Final = 64 * 2**10

_READ_ONLY = Refused(
    403,
    "This page only reads",
    "It was started so that nothing can be changed. Whoever runs it can start it without "
    "--read-only.",
)


class Guarded:
    """Makes routes, each behind the same guard: there is no other way to make one.

    Args:
        site: The page as a whole.
    """

    def __init__(self, site: Site) -> None:
        self._site = site

    def reading(self, path: str, endpoint: Endpoint, *, by_itself: bool = False) -> Route:
        """A page that is read.

        Args:
            path: Where.
            endpoint: What makes it.
            by_itself: Browsers ask for it again and again, without anybody who does anything.
        """

        async def answer(request: Request) -> Response:
            return await self._answered(request, endpoint, by_itself=by_itself)

        return Route(path, answer, methods=["GET"], name=endpoint.__name__)

    def writing(self, path: str, endpoint: Endpoint, *, stores: bool = True) -> Route:
        """A form that is sent.

        Args:
            path: Where.
            endpoint: What takes it.
            stores: Whether it changes anything on the server: then a page that only reads
                refuses it.
        """

        async def answer(request: Request) -> Response:
            return await self._answered(request, endpoint, stores=stores)

        return Route(path, answer, methods=["POST"], name=endpoint.__name__)

    async def _answered(
        self,
        request: Request,
        endpoint: Endpoint,
        *,
        stores: bool = False,
        by_itself: bool = False,
    ) -> Response:
        cookie = request.cookies.get(cookie_name(request))
        visit = self._site.visits.find(cookie, by_itself=by_itself)
        call = Call(request, self._site, visit or self._site.visits.begin())
        try:
            self._check_host(request)
            await self._site.visits.sweep()
            if request.method == "POST":
                _check_origin(request)
            if visit is None or visit.session is None:
                call.visit = await self._site.entered(call.visit)
            if request.method == "POST":
                await self._check_form(call, stores)
            answer = await self._elsewhere(call) or await endpoint(call)
        except NotLoggedIn as error:
            answer = logged_out(call, error)
        except Refused as error:
            answer = failure(call, error)
        except (KintoError, ValidationError) as error:
            answer = failure(call, error)
        return _with_cookie(answer, call.visit, request)

    def _check_host(self, request: Request) -> None:
        """Refuse a name that somebody else's DNS may have pointed here."""
        if _host_name(request.headers.get("host", "")) not in self._site.hosts:
            raise Refused(
                421,
                "This page is not served under this name",
                f"Open it as http://{self._site.hosts[0]}, with its port. Whoever runs it can "
                "allow more names.",
            )

    async def _elsewhere(self, call: Call) -> Response | None:
        """Whoever looks into the personal bucket makes it: one that only reads names it by its id.

        Returns:
            The way to the page of this id; None where the page itself is to be made.
        """
        if not (self._site.read_only and call.request.path_params.get("bucket") == "default"):
            return None
        id = await call.session.resolve_bucket("default")
        here = call.at("buckets", "default")
        return call.goto(call.at("buckets", id) + call.here.removeprefix(here))

    async def _check_form(self, call: Call, stores: bool) -> None:
        inside = call.visit.session is not None
        call.form = await _form_of(call.request, MOST_BYTES if inside else _MOST_OF_ANYBODY)
        if not hmac.compare_digest(call.form.get(GUARD).encode(), call.visit.token.encode()):
            if call.visit.session is None and not call.path.endswith("/login"):
                raise NotLoggedIn(call.here)
            raise Refused(
                403,
                "This form is too old",
                "Nothing was changed. You logged in or out since it was loaded: go back, load the "
                "page again, and send it once more.",
            )
        if stores and self._site.read_only:
            raise _READ_ONLY


def _check_origin(request: Request) -> None:
    """Refuse a form that another site's page has sent."""
    origin, host = request.headers.get("origin"), request.headers.get("host", "")
    site = request.headers.get("sec-fetch-site", "same-origin")
    if (origin is not None and _place_of(origin) != host) or site not in ("same-origin", "none"):
        raise Refused(
            403,
            "This form came from another site",
            "Nothing was changed. Open the page itself, and do it there.",
        )


def _place_of(origin: str) -> str:
    """The host and port of an origin; empty where it is none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


async def _form_of(request: Request, most: int) -> Form:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise Refused(
                413,
                "This is too large for a form",
                f"At most {most // 2**10} KB are taken {_from(most)}. Go back: what you wrote is "
                "there, to be copied.",
            )
    try:
        return Form.of(bytes(body))
    except ValueError:
        raise Refused(
            400, "This is no form of this page", "Go back, load the page again, and send it anew."
        ) from None


def _from(most: int) -> str:
    return "here" if most == MOST_BYTES else "from somebody who is not logged in"


def _host_name(host: str) -> str:
    """The name in a Host header, without the port."""
    end = host.find("]")
    return host[: end + 1].lower() if end >= 0 else host.partition(":")[0].lower()


def cookie_name(request: Request) -> str:
    """The cookie's name: browsers share cookies between the ports of a machine."""
    _, port = request.scope.get("server") or ("", None)
    return f"kinto-orm-{port or 'page'}"


def _with_cookie(answer: Response, visit: Visit, request: Request) -> Response:
    name = cookie_name(request)
    if request.cookies.get(name) != visit.id:
        answer.set_cookie(
            name,
            visit.id,
            path=request.scope.get("root_path", "") or "/",
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
    return answer


_HEADERS = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]


def _kept(scope: Any) -> bytes:
    """How long a browser may keep an answer: pages never, files as long as they are the same."""
    return b"no-cache" if "/static/" in scope["path"] else b"no-store"


class Headers:
    """Puts the same headers on every answer, static files and errors included.

    Args:
        app: The application.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""

        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                ours = [*_HEADERS, (b"cache-control", _kept(scope))]
                message["headers"] += [pair for pair in ours if pair[0] not in given]
            await send(message)

        await self._app(scope, receive, sending)
