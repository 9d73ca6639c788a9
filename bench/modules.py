"""How many modules and functions of the library a call enters, counted while it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from _both import Article, article_data

import kinto_orm
from kinto_orm import Bucket, Session

PACKAGE = Path(kinto_orm.__file__).parent


def entered(work: Callable[[], object]) -> set[tuple[str, str]]:
    """Module and function of each call into the library."""
    found: set[tuple[str, str]] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and (name := frame.f_code.co_filename).startswith(str(PACKAGE)):
            found.add((str(Path(name).relative_to(PACKAGE)), frame.f_code.co_qualname))

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return {(module, name) for module, name in found if not module.startswith("server/")}


with Session("memory://", bucket="bench") as session:
    Bucket(id="bench").save().collections.new(id="articles").save()
    article = Article(**article_data(1)).save()

    def save_changed() -> None:
        article.stars += 1
        article.save()

    save_changed()  # what is loaded and compiled at the first time
    for name, work in {
        "get": lambda: Article.get(article.id),
        "save a changed record": save_changed,
        "find a page": lambda: Article.find().all(),
    }.items():
        calls = entered(work)
        modules = sorted({module for module, _ in calls})
        print(f"{name}: {len(modules)} modules, {len(calls)} functions\n  {', '.join(modules)}")
