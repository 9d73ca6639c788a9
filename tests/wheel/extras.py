"""What works with which extra: one table, and what tries each line of it on a real Kinto.

`environments.py` runs this in environments that have no extra, one alone, and all of them:
`extras.py NAMES URL`. What works has to work there; what does not has to name the
extra that it needs.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from importlib.metadata import files
from pathlib import Path
from typing import Any, NamedTuple

from kinto_orm import AsyncSession, ConfigurationError, Record, Session, Template

PUBLIC = ("kinto_orm", "kinto_orm.server", "kinto_orm.web")
URL, AUTH = "", ("", "")
# It is where the wheel is installed, but runs with what this environment sees.
PROGRAM = next(each for each in files("kinto-orm") or [] if each.name == "kinto-orm").locate()


class Todo(Record, collection="todos"):
    """A typed record."""

    title: str
    done: bool = False


class Act(NamedTuple):
    """Something that a user does.

    Attributes:
        name: What it is called in the output.
        work: Does it; a SystemExit says what a program said that failed.
        needs: The extras that it needs. Of several that will do, split by `|`, the first one is
            named to who has none.
        remedy: What the refusal tells to do.
    """

    name: str
    work: Callable[[], object]
    needs: tuple[str, ...] = ()
    remedy: str = "pip install 'kinto-orm[{}]'"

    def missing(self, extras: set[str]) -> str | None:
        """Name the extra of which the user is told, or None when it has to work."""
        lacking = (each for each in self.needs if not extras & set(each.split("|")))
        return next((each.partition("|")[0] for each in lacking), None)


def imports() -> None:
    """Import all that is public."""
    for name in PUBLIC:
        module = importlib.import_module(name)
        for each in module.__all__:
            getattr(module, each)


def over_http() -> None:
    """Use a server with the plain session."""
    with Session(URL, auth=AUTH) as session:
        todo = Todo(title="Call").save()
        assert Todo.get(todo.id).title == "Call"
        assert Todo.find().count() == 1
        session.kv["server"] = {"name": "kinto.example"}
        Template(name="motd", source="Welcome to {{ server.name }}").save()
        assert Template.get("motd").render() == "Welcome to kinto.example"
        assert session.save_all([Todo(title="One"), Todo(title="Two")]).created == 2


def yaml_of_a_template() -> None:
    """Read what a template rendered to."""
    with Session(URL, auth=AUTH):
        template = Template(name="ports", source="ports: [80, 443]").save(existing="replace")
        assert template.render_yaml() == {"ports": [80, 443]}


def embedded(url: str) -> None:
    """Save on a Kinto in this process."""
    with Session(url):
        assert Todo.get(Todo(title="Call").save().id).title == "Call"


def served() -> None:
    """Serve a Kinto of this process, and one of another."""
    from kinto_orm.server import open_memory, serve, serve_process

    with open_memory() as kinto, serve(kinto) as server, Session(server.url, auth=kinto.auth):
        Todo(title="Call").save()
    with serve_process("memory://") as process, Session(process.url, auth=process.auth):
        Todo(title="Call").save()


def awaited(url: str, auth: tuple[str, str] | None) -> None:
    """Use a session that is awaited."""

    async def work() -> None:
        async with AsyncSession(url, auth=auth):
            todo = await Todo(title="Call").asave()
            assert (await Todo.aget(todo.id)).title == "Call"

    asyncio.run(work())


def page() -> None:
    """Ask the page in the browser for its first page and for its style."""
    from kinto_orm.web import app

    application = app(URL)
    for path in ("/", "/static/page.css"):
        assert asyncio.run(answer_of(application, path)) in {200, 303}, path


async def answer_of(application: Any, path: str) -> int:
    """Call an ASGI application as a server does; gives the status."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "server": ("localhost", 80),
        "client": ("127.0.0.1", 1),
    }
    sent: list[Any] = []

    asked = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> dict[str, Any]:
        return next(asked, None) or await asyncio.Future()  # nobody hangs up

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await application(scope, receive, send)
    return int(sent[0]["status"])


def command(*arguments: str) -> str:
    """Run the command line; gives what it printed."""
    done = subprocess.run(
        [sys.executable, PROGRAM, *arguments],
        env={**os.environ, "KINTO_ORM_SERVER": URL, "KINTO_ORM_AUTH": ":".join(AUTH)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def listed() -> None:
    """List what is there, as JSON."""
    assert "todos" in command("ls", "/buckets/default", "--json")


def dumped() -> None:
    """Dump to Parquet."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "todos.parquet")
        command("dump", "/buckets/default/collections/todos", "--output", str(path))
        assert path.read_bytes()[:4] == b"PAR1"


def started(*arguments: str) -> None:
    """Run a command that stays, until it says its address."""
    environment = {**os.environ, "KINTO_ORM_SERVER": "", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [sys.executable, PROGRAM, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = ""
        try:
            for line in process.stdout:
                said += line
                if "http://" in line:
                    return
        finally:
            process.terminate()
    raise SystemExit(said)


def traced() -> None:
    """See the spans of what is sent."""
    from opentelemetry import trace

    names: list[str] = []

    class Tracer(trace.NoOpTracer):
        @contextmanager
        def start_as_current_span(self, name: str, *args: Any, **kwargs: Any) -> Any:
            names.append(name)
            yield trace.INVALID_SPAN

    class Provider(trace.NoOpTracerProvider):
        def get_tracer(self, *args: Any, **kwargs: Any) -> trace.Tracer:
            return Tracer()

    trace.set_tracer_provider(Provider())
    with Session(URL, auth=AUTH):
        Todo(title="Call").save()
    assert "PUT" in names, names


def acts(directory: str) -> list[Act]:
    """Make the table."""
    return [
        Act("import what is public", imports),
        Act("Session over HTTP", over_http),
        Act("Template.render_yaml", yaml_of_a_template, ("cli",), "pip install pyyaml"),
        Act("Session(memory://)", lambda: embedded("memory://"), ("server",)),
        Act("Session(sqlite://)", lambda: embedded(f"sqlite:///{directory}/app.db"), ("server",)),
        Act("Session(local://)", lambda: embedded(f"local://{directory}/data"), ("server",)),
        Act("serve, serve_process", served, ("server",)),
        Act("AsyncSession over HTTP", lambda: awaited(URL, AUTH), ("async|web",)),
        Act("AsyncSession(memory://)", lambda: awaited("memory://", None), ("server",)),
        Act("web.app", page, ("web",)),
        Act("kinto-orm ls", listed, ("cli",)),
        Act(
            "kinto-orm browse",
            lambda: started("--server", URL, "browse", "--port", "0"),
            ("cli", "web"),
        ),
        Act("kinto-orm serve", lambda: started("serve", "--port", "0"), ("cli", "server")),
        Act("kinto-orm dump to Parquet", dumped, ("cli", "arrow")),
    ]


def outcome(act: Act, missing: str | None) -> str | None:
    """Do it; gives what is wrong."""
    try:
        act.work()
    except (ConfigurationError, SystemExit) as refusal:
        if missing is None:
            return f"is refused: {refusal}"
        if "Traceback" in str(refusal) or act.remedy.format(missing) not in str(refusal):
            return f"does not say that it needs {missing}: {refusal}"
        return None
    except Exception as error:
        return f"raises {type(error).__name__}: {error}"
    return None if missing is None else f"works, but the table says that it needs {missing}"


def main(extras: set[str]) -> None:
    """Try each line; ends with what is wrong."""
    found: dict[str, str] = {}
    faults = []
    with tempfile.TemporaryDirectory() as directory:
        for act in acts(directory):
            missing = act.missing(extras)
            found[act.name] = "works" if missing is None else f"names {missing}"
            if fault := outcome(act, missing):
                faults.append(f"{act.name} {fault}")
    if "otel" in extras:
        traced()
    print(json.dumps({"extras": sorted(extras), "found": found, "faults": faults}))


if __name__ == "__main__":
    # A user of its own, whose personal bucket is empty.
    URL, AUTH = sys.argv[2], (f"user {os.getpid()}", "secret")
    main(set(filter(None, sys.argv[1].split(","))))
