"""Jinja2 templates that are kept on a server and rendered from its values."""
