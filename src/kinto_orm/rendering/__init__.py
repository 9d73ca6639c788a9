"""Templates: text and JSON in, text out.

Everything here is pure: it knows neither Kinto nor sessions. Templates come from a function
that is given (`Load`), values are plain JSON, and what a template may do is limited (`Limits`).

Two modes. With `isolation="none"` a template runs in the process of the caller: fast, for
templates whose authors you trust. Growth is measured before it happens, and time is looked
at in loops, calls and filters, but a few operations of Python cannot be stopped from within.
With `isolation="process"` it runs in a limited process of its own, which is killed when it
passes a limit: for all other templates.

limits      how much a template may use; how large a result will be
run         one render while it goes on
values      what a template may write: values, and never code
generator   writing the Python code of a template
sandbox     the Jinja2 environment that holds the limits
compiling   compiling, and what can be told of a template without running it
worker      the helper process and its children
places      how many of them at a time
helper      the helper process, as its starter sees it
isolation   asking a child for a render
renderer    the renderer
documents   JSON and YAML out of rendered text
"""

from kinto_orm.rendering.compiling import check, variables
from kinto_orm.rendering.documents import parse_json, parse_yaml
from kinto_orm.rendering.limits import Limits
from kinto_orm.rendering.renderer import Renderer
from kinto_orm.rendering.run import VALUES, Document, Load, Needs, Values

__all__ = [
    "VALUES",
    "Document",
    "Limits",
    "Load",
    "Needs",
    "Renderer",
    "Values",
    "check",
    "parse_json",
    "parse_yaml",
    "variables",
]
