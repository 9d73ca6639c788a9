"""How Sphinx builds the documentation; see `make docs`."""

from kinto_orm import __version__

project = "kinto-orm"
author = "the kinto-orm contributors"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"kinto-orm {__version__}"

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

# Single backticks in docstrings are code.
default_role = "literal"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "exclude-members": "model_config"}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Class keywords", "params_style")]


def setup(app):
    """Connect what corrects the extensions."""
    app.connect("autodoc-process-docstring", restore_first_lines_of_properties, priority=600)


def restore_first_lines_of_properties(app, what, name, obj, options, lines):
    """Put back what napoleon takes for a property's type: its first line up to a colon."""
    types = [line for line in lines if line.startswith(":type: ")]
    if what == "property" and types:
        lines.remove(types[0])
        lines[0] = f"{types[0].removeprefix(':type: ')}: {lines[0]}"


# `object` in a signature is Python's own; two classes have an attribute of that name.
suppress_warnings = ["ref.python"]
