"""What `against.py` measures of one source tree: the CPU time of a call, by name of the work."""

from __future__ import annotations

import gc
import itertools
import json
import sys
import time
from collections.abc import Callable

from _both import BUCKET, Article, article_data

from kinto_orm import Session

url, password = sys.argv[1:3]
numbers = itertools.count(1)

with Session(url, auth=("bench", password), bucket=BUCKET) as session:
    article = Article(**article_data(1)).save()
    unchanged = Article(**article_data(2)).save()

    def save_one() -> None:
        article.views = next(numbers)
        article.save()

    def save_all() -> None:
        made = [Article(**article_data(number)) for number in range(100)]
        assert session.save_all(made).created == len(made)

    WORK: dict[str, tuple[Callable[[], object], int]] = {
        "get_one": (lambda: Article.get(unchanged.id), 100),
        "save_one": (save_one, 60),
        "save_unchanged": (unchanged.save, 200),
        "load_page": (lambda: Article.find().page_size(2000).limit(2000).all(), 2),
        "save_all": (save_all, 1),
    }
    for work, _ in WORK.values():
        work()
    for line in sys.stdin:
        work, calls = WORK[line.strip()]
        gc.collect()
        start = time.process_time()
        for _ in range(calls):
            work()
        print(json.dumps((time.process_time() - start) / calls), flush=True)
