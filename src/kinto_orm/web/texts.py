"""Texts as browsers send them back: each line break is of one kind there."""

from __future__ import annotations

import json
import re
from typing import Final

_END: Final = re.compile("\r\n|\r|\n")


def as_sent(text: str) -> str:
    """A text as it comes back from a form where nobody touched it."""
    return _END.sub("\n", text)


def is_plain(text: str) -> bool:
    """Whether a control keeps a text: its lines end in one way, and browsers drop none of it."""
    return "\0" not in text and len(_ends(text)) < 2


def restored(text: str, old: str) -> str:
    """A text that was written in the place of another one, with the line ends of that."""
    ends = _ends(old)
    return text.replace("\n", ends.pop()) if len(ends) == 1 else text


def _ends(text: str) -> set[str]:
    return set(_END.findall(text))


def key_of(name: str) -> str:
    """How the controls of a field are called: as it, or quoted where a browser would change it."""
    return name if name.isprintable() and not name.startswith('"') else json.dumps(name)
