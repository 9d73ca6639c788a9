"""What a package index shows: the README with links that hold there, and the project's URLs.

In the repository the README links to its files. On the page of an index these lead nowhere, so they
lead to the documentation, where DOCS_URL says that it stands; without it their text is left.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
_PAGE = re.compile(r"docs/(?P<name>[\w-]+)\.md(?P<anchor>#[\w-]+)?")
_IMAGE = re.compile(r"docs/images/(?P<name>[\w.-]+)")


class IndexPage(MetadataHookInterface):
    """Gives the readme and the URLs."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set both, by the variables DOCS_URL and SOURCE_URL of the environment."""
        docs, source = os.environ.get("DOCS_URL", ""), os.environ.get("SOURCE_URL", "")
        readme = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": for_index(readme, docs)}
        metadata["urls"] = urls(docs, source)


def for_index(readme: str, docs: str) -> str:
    """Let each link to a file lead to the documentation, or else be its text.

    Args:
        readme: The README, in Markdown.
        docs: Where the documentation stands, with a slash at the end; empty: nowhere.
    """

    def there(link: re.Match[str]) -> str:
        if "://" in link["target"]:
            return link[0]
        address = docs and _address(link["target"])
        if address:
            return f"{link['image']}[{link['text']}]({docs}{address})"
        return "" if link["image"] else link["text"]

    return _LINK.sub(there, readme)


def _address(target: str) -> str | None:
    """Find where a file of the repository is in the documentation."""
    if page := _PAGE.fullmatch(target):
        return f"{page['name']}.html{page['anchor'] or ''}"
    if image := _IMAGE.fullmatch(target):
        return f"_images/{image['name']}"
    return None


def urls(docs: str, source: str) -> dict[str, str]:
    """Name the addresses that are known."""
    known = {"Source": source} if source else {}
    if docs:
        known |= {"Documentation": docs, "Changelog": f"{docs}changelog.html"}
    return known
