"""Ten thousand gets of one process at the same time, from a real Kinto over loopback."""

from __future__ import annotations

import asyncio
import os
import resource
import threading
import time

from _both import BUCKET, COLLECTION, Article, article_data

from kinto_orm import AsyncSession, Bucket, Session
from kinto_orm.server import serve_process

TIMES = 10_000


def open_files() -> int:
    """Files and sockets that this process has open (Linux)."""
    return len(os.listdir("/proc/self/fd"))


async def get_all(url: str, auth: tuple[str, str], id: str) -> tuple[int, int]:
    """Start all gets at once; how many sockets and threads there were at most."""
    files = threads = 0

    async def watch() -> None:
        nonlocal files, threads
        while True:
            files = max(files, open_files())
            threads = max(threads, threading.active_count())
            await asyncio.sleep(0.01)

    async with AsyncSession(url, auth=auth, bucket=BUCKET) as session:
        before, watching = open_files(), asyncio.create_task(watch())
        articles = await asyncio.gather(*(session.get(Article, id) for _ in range(TIMES)))
        watching.cancel()
    assert len(articles) == TIMES
    return files - before, threads


with serve_process("memory://") as server:
    with Session(server.url, auth=server.auth, bucket=BUCKET) as session:
        Bucket(id=BUCKET).save().collections.new(id=COLLECTION).save()
        article = Article(**article_data(1)).save()
    start = time.perf_counter()
    sockets, threads = asyncio.run(get_all(server.url, server.auth, article.id))
    seconds = time.perf_counter() - start

memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(f"{TIMES:,} gets at once: {seconds:.1f} s, no error")
print(f"  at most {sockets} sockets (goal: 32), {threads} thread (goal: 1), {memory} MB")
