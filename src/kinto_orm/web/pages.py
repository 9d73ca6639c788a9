"""Pages: the templates of this package, with what each of them needs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from kinto_orm._version import __version__
from kinto_orm.web.calls import GUARD, Call
from kinto_orm.web.words import kind_of, may, who

HERE: Final = Path(__file__).parent
# More of a value would push the other columns off the screen.
_SHORT = 90


def page(call: Call, template: str, status: int = 200, /, **context: Any) -> Response:
    """An answer made of a template."""
    visit = call.visit
    given = {
        "call": call,
        "at": call.at,
        "again": call.again,
        "guard": Markup('<input type="hidden" name="{}" value="{}">').format(GUARD, visit.token),
        "version": __version__,
        "read_only": call.site.read_only,
        "me": visit.name,
        "mine": visit.principal,
        "named": call.request.path_params,
    }
    # What is told once is not told to a page that is thrown away.
    given["news"] = visit.hear() if status < 400 else []
    html = _environment().get_template(template).render(given | context)
    return HTMLResponse(html, status)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "pretty": pretty,
        "short": short,
        "moment": moment,
        "number": number,
        "kind": kind_of,
        "who": who,
    }
    made.globals |= {"who": who, "may": may}
    return made


def pretty(value: object) -> str:
    """JSON to be read, and to be changed."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def short(value: object) -> str:
    """A value on one line; a text without quotes."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= _SHORT else text[: _SHORT - 1] + "…"


def number(value: int) -> str:
    """A number with its thousands apart."""
    return f"{value:,}"


def moment(value: int | datetime | None) -> Markup:
    """When something was, for people and for machines."""
    if value is None:
        return Markup("")
    try:
        when = datetime.fromtimestamp(value / 1000, UTC) if isinstance(value, int) else value
    except (OverflowError, ValueError, OSError):
        return Markup("{}").format(value)
    when = when.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        when.isoformat(timespec="milliseconds"), when.strftime("%Y-%m-%d %H:%M:%S UTC")
    )
