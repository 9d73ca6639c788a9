"""How Sphinx builds the documentation; see `make docs`."""

import os
import re
import sys
import tomllib
from html import escape
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from docutils import nodes
from sphinx.ext.intersphinx import missing_reference

from kinto_orm import __version__

sys.path.append(str(Path(__file__).parent))  # an extension is here

project = "kinto-orm"
author = "the kinto-orm contributors"
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "sphinx_inline_tabs",
    "section_index",
]
exclude_patterns = ["_build", "inventories"]

html_theme = "furo"
html_favicon = "_static/favicon.svg"
pygments_dark_style = "github-dark"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_show_copyright = False
# The page whose questions are also those of the sections that answer them, and what pages count
# that have many words and few answers: all others count 1.
search_questions = "questions"
search_weights = {
    "questions": 0.5,
    "changelog": 0.4,
    "architecture": 0.6,
    "coming-from-kinto-client": 0.7,
    "coming-from-kvpio": 0.7,
}
html_title = f"kinto-orm {__version__}"
# Where the pages will stand, with a slash at the end, such as https://docs.example.org/kinto-orm/.
URLS = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text())[
    "project"
].get("urls", {})
html_baseurl = os.environ.get("DOCS_URL", URLS.get("Documentation", ""))
html_copy_source = False
if "Repository" in URLS:
    html_theme_options = {
        "source_repository": URLS["Repository"],
        "source_branch": "main",
        "source_directory": "docs/",
    }

myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 3

# What is copied are the lines that one types.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# The inventories are in the repository, so that no build needs the network.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3/", "inventories/python.inv"),
    "pydantic": ("https://docs.pydantic.dev/latest/", "inventories/pydantic.inv"),
    "requests": ("https://requests.readthedocs.io/en/latest/", "inventories/requests.inv"),
}

# Single backticks in docstrings are code.
default_role = "literal"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
# Defaults as they are written, and a parameter a line where they do not fit on one.
autodoc_preserve_defaults = True
maximum_signature_line_length = 88
autodoc_default_options = {"members": True, "exclude-members": "model_config"}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Class keywords", "params_style")]


# Public for the library's own rooms, and called by no program: each stands in no page of these.
NOT_CALLED = {
    "Query": "follower in_large_pages only_one scope settling up_to_two",
    "Permissions": "is_fetched is_changed is_given lose replace_given settle",
    "Queue": "is_to_be_sent open session",
    "BatchError": "derive",
    "Column": "name",
    "Condition": "names matches",
    "KeyValues": "removing setting versions",
    "Scope": "shares_server",
    "EmbeddedServer": "adapter shared",
    "LoopbackServer": "after_fork",
    "ProcessServer": "after_fork",
    "Resource": "model_construct model_copy model_dump",
    "KintoError": "of_hook",
    "Conflict": "contested decided",
}
_NOT_CALLED = {f"{cls}.{name}" for cls, names in NOT_CALLED.items() for name in names.split()}

# Classes whose objects a program makes itself; the others come from the library.
MADE_BY_PROGRAMS = """
    Session AsyncSession SessionMiddleware Retry BearerAuth Record Bucket Collection Group
    Permissions Template Account
"""

# What signatures name, and how readers know it.
KNOWN_AS = {
    "JsonValue": "pydantic.types.JsonValue",
    "datetime": "datetime.datetime",
    "requests.models.PreparedRequest": "requests.PreparedRequest",
    "Scope": "kinto_orm.Session",
    "kinto_orm.wire.scope.Scope": "kinto_orm.Session",
}


def setup(app):
    """Connect what corrects the extensions, and what describes the pages."""
    app.connect("autodoc-skip-member", leave_out)
    app.connect("autodoc-process-signature", shorten_signature)
    app.connect("missing-reference", look_up, priority=400)
    app.connect("autodoc-process-docstring", restore_first_lines_of_properties, priority=600)
    app.connect("html-page-context", describe)
    app.connect("html-page-context", make_links_of_lost_page_absolute)


def leave_out(app, what, name, obj, skip, options):
    """Leave out what no program calls: flows, which a driver runs, and what is named above."""
    function = getattr(obj, "__func__", getattr(obj, "fget", obj))
    gives = str(getattr(function, "__annotations__", {}).get("return", ""))
    is_flow = "Flow[" in gives or "Updating" in gives
    return True if is_flow or getattr(function, "__qualname__", "") in _NOT_CALLED else skip


def shorten_signature(app, what, name, obj, options, signature, gives):
    """Show how an object is made only where a program makes it, and that an id is a text."""
    if not signature:
        return None
    if what in ("class", "exception") and name.rpartition(".")[2] not in MADE_BY_PROGRAMS.split():
        return "", None
    return re.sub(r"Annotated\[str, StringConstraints\(.*?\)\]", "str", signature), gives


def look_up(app, env, node, content):
    """Lead from a name inside of the library, or of another one, to where it is described."""
    target = KNOWN_AS.get(node.get("reftarget"))
    if target is None:
        return None
    if not target.startswith("kinto_orm."):
        node["reftarget"] = target
        return missing_reference(app, env, node, content)
    domain = env.domains["py"]
    return domain.resolve_xref(env, node["refdoc"], app.builder, "class", target, node, content)


def restore_first_lines_of_properties(app, what, name, obj, options, lines):
    """Put back what napoleon takes for a property's type: its first line up to a colon."""
    types = [line for line in lines if line.startswith(":type: ")]
    if what == "property" and types:
        lines.remove(types[0])
        lines[0] = f"{types[0].removeprefix(':type: ')}: {lines[0]}"


def describe(app, pagename, templatename, context, doctree):
    """Say in the page's head what it is about, for search engines and for previews of links."""
    if doctree is None:
        return
    said = {
        "og:title": next(doctree.findall(nodes.title)).astext(),
        "og:description": description_of(doctree),
        "og:type": "website" if pagename == "index" else "article",
        "og:site_name": project,
    }
    if html_baseurl:  # whoever shows previews takes whole addresses only
        said["og:url"] = urljoin(html_baseurl, f"{pagename}.html")
        said["og:image"] = urljoin(html_baseurl, "_static/preview.png")
        said["og:image:alt"] = "What kinto-orm is, and its first example"
    tags = ['<meta name="twitter:card" content="summary_large_image">']
    tags += [f'<meta name="description" content="{escape(said["og:description"])}">']
    tags += [f'<meta property="{name}" content="{escape(text)}">' for name, text in said.items()]
    context["metatags"] = "\n".join([context.get("metatags", ""), *tags])


def description_of(doctree):
    """The first paragraph of a page, up to the end of a sentence within 200 characters."""
    paragraph = next(doctree.findall(nodes.paragraph), None)
    text = " ".join(paragraph.astext().split()) if paragraph is not None else project
    if len(text) <= 200:
        return text
    whole = text[:200].rpartition(". ")[0]
    return f"{whole}." if whole else text[:200].rpartition(" ")[0] + " ..."


def make_links_of_lost_page_absolute(app, pagename, templatename, context, doctree):
    """Let the links of the page for wrong addresses begin at the top: any address shows it."""
    if pagename == "404":
        top = urlsplit(html_baseurl).path or "/"
        context["metatags"] = f'<base href="{top}">\n{context.get("metatags", "")}'


# `object` in a signature is Python's own; two classes have an attribute of that name.
suppress_warnings = ["ref.python"]
