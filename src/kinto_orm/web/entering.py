"""Logging in and out."""

from __future__ import annotations

from starlette.responses import Response

from kinto_orm.errors import ConfigurationError, KintoError, Unauthorized
from kinto_orm.web.calls import Call
from kinto_orm.web.pages import page
from kinto_orm.web.refusals import Explanation, explained
from kinto_orm.wire.authentication import BearerAuth
from kinto_orm.wire.renewing import AsyncAuth

_WRONG = Explanation(
    401,
    "Wrong user, password or token",
    "The server knows nobody by these. Check the spelling, and upper and lower case.",
)


async def login(call: Call) -> Response:
    """Show the form."""
    if call.visit.session is not None:
        return call.goto(_inside(call, call.asked("next")))
    return page(call, "login.html", next=call.asked("next"), user="", told=None, kept=[])


async def log_in(call: Call) -> Response:
    """Try the credentials, and keep them in memory if they serve."""
    wanted = call.form.get("next")
    try:
        auth, name = _credentials(call)
        visit = await call.site.visits.log_in(auth, name)
    except KintoError as error:
        told = _told(error)
        user = call.form.get("user")
        return page(call, "login.html", told.status, next=wanted, user=user, told=told, kept=[])
    # A new id: whoever knew the old one is not logged in.
    call.site.visits.end(call.visit)
    call.visit = visit
    return call.goto(_inside(call, wanted))


def _told(error: KintoError) -> Explanation:
    if isinstance(error, ConfigurationError):
        return Explanation(422, "This cannot be sent as it is", "Correct it.", str(error))
    return _WRONG if isinstance(error, Unauthorized) else explained(error)


def _credentials(call: Call) -> tuple[AsyncAuth | None, str | None]:
    """What was filled in, and how whoever did is called.

    Raises:
        Unauthorized: Nothing was.
        ConfigurationError: It cannot be sent.
    """
    token, user = call.form.get("token").strip(), call.form.get("user").strip()
    if token:
        return BearerAuth(token.removeprefix("Bearer ")), None
    if user:
        return (user, call.form.get("password")), user
    if call.form.has("anonymous"):
        return None, None
    raise Unauthorized("nothing was filled in", status=401)


async def log_out(call: Call) -> Response:
    """Forget the credentials; those of everybody stay."""
    if call.site.auth is not None:
        call.visit.tell(
            "Whoever opens this page acts as this user: there is nothing to log out of."
        )
        return call.goto(call.at())
    call.site.visits.end(call.visit)
    await call.site.visits.sweep()
    call.visit = call.site.visits.begin()
    call.visit.tell("You are logged out, and your password is forgotten here.")
    return call.goto(call.at("login"))


def _inside(call: Call, wanted: str) -> str:
    """The page that was wanted, if it is one of these; never another site's."""
    plain = wanted.startswith("/") and wanted[1:2] not in ("/", "\\") and wanted.isprintable()
    return wanted if plain else call.at()
