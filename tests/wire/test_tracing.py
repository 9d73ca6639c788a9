"""Spans of OpenTelemetry, in processes of their own: it is used as soon as it is imported."""

from __future__ import annotations

import json
import subprocess
import sys
from textwrap import dedent
from typing import Any

import pytest

from faults import FaultyServer, hangs_up, kinto_says

SPANS = """
import asyncio, json, sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from kinto_orm import AsyncSession, KintoError, Record, Retry, Session

exporter = InMemorySpanExporter()
trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(exporter))

class Todo(Record, collection="todos"):
    title: str = ""
"""
SAY = """
print(json.dumps([json.loads(each.to_json()) for each in exporter.get_finished_spans()]))
"""
BLOCKING = """
with Session("memory://", bucket="b") as session:
    session.sync_schema(Todo)
    exporter.clear()
    Todo(id="x").save()
"""
AWAITED = """
async def main():
    async with AsyncSession("memory://", bucket="b") as session:
        await session.sync_schema(Todo)
        exporter.clear()
        await Todo(id="x").asave()

asyncio.run(main())
"""
FAILING = """
retry = Retry(3, backoff_factor=0)
with Session(sys.argv[1], auth="bob:s3cret", bucket="b", retry=retry) as session:
    try:
        session.get(Todo, "x")
    except KintoError:
        SAY
"""


def spans(code: str, *arguments: str) -> list[dict[str, Any]]:
    """The spans of a program, in the order in which they ended."""
    program = SPANS + dedent(code).replace("SAY", "pass") + SAY
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("code", [BLOCKING, AWAITED], ids=["blocking", "awaited"])
def test_a_span_for_the_operation_and_one_for_each_sending(code: str) -> None:
    """The operation's is above; its name is the same for all objects of a model."""
    below, above = spans(code)
    assert (above["name"], below["name"]) == ("save Todo", "PUT")
    assert above["attributes"]["kinto_orm.doing"].startswith("save Todo 'x' in /buckets/")
    assert below["parent_id"] == above["context"]["span_id"]
    assert below["kind"] == "SpanKind.CLIENT"
    said = below["attributes"]
    assert (said["http.request.method"], said["http.response.status_code"]) == ("PUT", 201)
    assert said["url.full"].endswith("/collections/todos/records/x")


def test_spans_of_attempts_and_failures() -> None:
    """Each attempt has one; the server is told which span asks; nothing in them is secret."""
    with FaultyServer(hangs_up, kinto_says(404, 110)) as server:
        found = spans(FAILING, server.url)
        received = [each.headers["Traceparent"] for each in server.received]
    sendings = [each for each in found if each["name"] == "GET"][:2]
    assert sendings[0]["status"]["status_code"] == "ERROR"
    assert sendings[1]["attributes"]["http.request.resend_count"] == 1
    assert sendings[1]["attributes"]["error.type"] == "404"
    assert "get Todo" in {each["name"] for each in found}
    for span, header in zip(sendings, received, strict=False):
        assert span["context"]["span_id"].removeprefix("0x") in header
    assert "s3cret" not in json.dumps(found)


def test_a_program_without_it_imports_nothing_of_it() -> None:
    """It is the program that decides."""
    head = SPANS.partition("exporter =")[0]
    head = "".join(line for line in head.splitlines(True) if "opentelemetry" not in line)
    model = SPANS[SPANS.index("class Todo") :]
    code = BLOCKING.replace("exporter.clear()", "")
    tail = "print([name for name in sys.modules if 'opentelemetry' in name])"
    done = subprocess.run(
        [sys.executable, "-c", head + model + code + tail],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


SECRETS = """
from pydantic import Field

class Login(Record, collection="logins"):
    hidden: str = Field(default="", repr=False)

def asked():
    return Login.find(Login.hidden == "m4rk3d").order_by(Login.hidden).page_size(1)
"""
ASKING = """
retry = Retry(0)
with Session(sys.argv[1], auth="bob:s3cret", bucket="b", retry=retry):
    for act in (asked().all, asked().count, asked().delete, Login(hidden="m4rk3d").save):
        try:
            act()
        except (KintoError, ValueError):
            pass
"""


def test_no_span_shows_a_value_of_a_secret_field() -> None:
    """Neither its URL, nor what is being done, nor the error that it keeps."""
    with FaultyServer(hangs_up, kinto_says(400, 107)) as server:
        found = spans(SECRETS + ASKING, server.url)
        received = str(server.received)
    assert "m4rk3d" in received
    assert "eq_hidden=..." in json.dumps(found)
    assert "m4rk3d" not in json.dumps(found)
