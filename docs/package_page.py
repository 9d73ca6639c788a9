"""Makes of the README the page that package indexes show: all links and pictures there are whole.

Hatchling runs it for each build. Where the project is, `[project.urls]` of pyproject.toml says, and
nothing else does. While that is empty a link is its text, for a relative one leads nowhere there.
"""

import re
from pathlib import Path
from urllib.parse import urljoin

try:
    from hatchling.metadata.plugin.interface import MetadataHookInterface
except ModuleNotFoundError:  # a build has it; the tests need the functions only
    MetadataHookInterface = object

ROOT = Path(__file__).parents[1]
_LINK = re.compile(r"(?P<picture>!?)\[(?P<said>[^]]*)\]\((?P<target>[^)\s]+)\)")
_PAGE = re.compile(r"docs/([\w-]+)\.md(#.*)?")


class PackagePage(MetadataHookInterface):
    """What hatchling calls."""

    def update(self, metadata):
        """Give the package its description."""
        text = page(metadata.get("urls", {}))
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def page(urls):
    """The README with whole links.

    Args:
        urls: Those of the project, by their names: "Repository" and "Documentation" are heeded.
    """
    source = (ROOT / "src" / "kinto_orm" / "_version.py").read_text()
    version = re.search(r'__version__ = "(.+)"', source)[1]
    text = (ROOT / "README.md").read_text()
    return _LINK.sub(lambda link: whole(link, urls, f"v{version}"), text)


def whole(link, urls, tag):
    """A link as it has to be on a page that stands elsewhere."""
    picture, said, target = link["picture"], link["said"], link["target"]
    if "://" in target:
        return link[0]
    described = _PAGE.fullmatch(target)
    if described and "Documentation" in urls:
        base = urls["Documentation"].rstrip("/") + "/"
        return f"[{said}]({urljoin(base, described[1])}.html{described[2] or ''})"
    if "Repository" in urls:
        kind = "raw" if picture else "blob"
        return f"{picture}[{said}]({urls['Repository'].rstrip('/')}/{kind}/{tag}/{target})"
    return "" if picture else said
