"""`serve` and `browse`, as processes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kinto_orm import Record, Session, Template
from program import as_process, in_process

# It may be set where the tests run, and hides what is not flushed.
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


@contextmanager
def serving(*arguments: str, port: int = 0) -> Iterator[tuple[subprocess.Popen[str], dict]]:
    """`kinto-orm serve`, and what it says of itself."""
    command = [sys.executable, "-m", "kinto_orm.cli", "serve", "--json", "--port", str(port)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, *arguments], env=BUFFERED, **pipes) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            assert line, process.stderr and process.stderr.read()
            yield process, json.loads(line)
        finally:
            process.kill()


def eventually(condition, seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def answers(url: str) -> bool:
    port = int(url.split(":")[2].split("/")[0])
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_ctrl_c_ends_all_of_it(tmp_path: Path) -> None:
    """PostgreSQL and both processes; that is no failure."""
    with serving("--data", f"{tmp_path}/data/", "--workers", "2") as (process, told):
        assert len(told["pids"]) == 2
        assert (tmp_path / "data" / "postgres" / "postmaster.pid").exists()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err.strip()) == (0, "stopped")
    assert not any(map(is_there, told["pids"]))
    assert not answers(told["url"])
    assert not (tmp_path / "data" / "postgres" / "postmaster.pid").exists()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGKILL, -9)])
def test_however_it_ends_nothing_of_it_stays(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    """A supervisor's SIGTERM and a crash end it, and the data is kept."""
    file = tmp_path / "app.db"
    with serving("--data", str(file)) as (process, told):
        with Session(told["url"], auth=told["auth"]) as session:
            session.kv["a"] = "kept"
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == status
        assert "Traceback" not in err
        assert eventually(lambda: not any(map(is_there, told["pids"])))
    with Session(f"sqlite:///{file}", auth=told["auth"]) as session:
        assert session.kv["a"] == "kept"


def test_interrupted_while_it_starts_it_leaves_nothing(tmp_path: Path) -> None:
    """PostgreSQL is not left running by processes that were still opening it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "kinto_orm.cli", "serve", "--port", "0", "--data", f"{tmp_path}/d/"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert eventually(lambda: (tmp_path / "d" / "secret").exists())
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.strip()) == (0, "", "stopped")
    assert not (tmp_path / "d" / "postgres" / "postmaster.pid").exists()


def test_a_process_that_crashes_ends_the_others(tmp_path: Path) -> None:
    """It is said, and the exit status is 1."""
    with serving("--data", f"{tmp_path}/a.db", "--workers", "2") as (process, told):
        os.kill(told["pids"][0], signal.SIGKILL)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "a process of the server has ended" in err
        assert not any(map(is_there, told["pids"]))


def test_sample_data_and_kvp(no_profile: None) -> None:
    """`--demo` has something of everything, and so have kvp.io's clients; twice is once."""
    with serving("--demo", "--kvp-key", "123abc") as (_, told):
        server = ("--server", told["url"], "--bucket", "demo")
        owner = (*server, "--auth", told["auth"])
        assert in_process("get", "todos/report", *owner, "--json").status == 0
        reader = in_process("ls", "todos", *server, "--auth", "bob:bob")
        assert len(reader.out.splitlines()) == 6
        groups = in_process("ls", "/buckets/demo/groups", *owner)
        assert groups.out.startswith("editors")
        kvp = ("--server", f"kvp+{told['url'].removesuffix('/v1')}", "--auth", "123abc:")
        rendered = in_process("template", "render", "motd", *kvp)
        assert rendered.out == "Good morning from Example.\n"
        with Session(told["url"], auth="ada:ada", bucket="demo", collection="todos") as ada:
            changed = Record.get("milk", session=ada)
            assert len(list(Record.get("report", session=ada).history())) == 3
            changed["title"] = "Buy oat milk"
            changed.save()
            from kinto_orm.cli.sample import fill

            fill(told["url"])
            assert Record.get("milk", session=ada)["title"] == "Buy oat milk"
            assert len(list(Record.get("report", session=ada).history())) == 3
            assert [each.id for each in Record.deleted(session=ada)] == ["umbrella"]


def test_it_says_where_it_is_and_how_to_connect(tmp_path: Path) -> None:
    """For a reader: the lines to copy work as they are."""
    command = [sys.executable, "-m", "kinto_orm.cli", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=BUFFERED) as process:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(6)]
        try:
            assert re.match(r"Kinto for development: http://127\.0\.0\.1:\d+/v1$", lines[0])
            assert lines[1] == "Data: in memory, gone at the end\n"
            session: Session = eval(lines[4], {"Session": Session})
            with session:
                assert session.account().id
            assignments = lines[3].split()[1:]
            environment = dict(each.split("=", 1) for each in assignments)
            ran = as_process("kv", "set", "a", "1", **environment)
            assert (ran.status, ran.err) == (0, "")
        finally:
            process.send_signal(signal.SIGINT)


def test_a_port_in_use_is_misuse_and_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = as_process("serve", "--port", str(port))
    assert (ran.status, ran.out) == (2, "")
    assert f"the port {port} is in use" in ran.err
    assert "--port 0" in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--workers", "2"], "--workers needs --data"),
        (["--data", "/no/such/dir/app.db"], "directory must exist"),
        (["--data", __file__], "no SQLite file"),
        (["--port", "70000"], "65535"),
        (["--server", "memory://"], "leave --server"),
        (["--kvp-key", "a:b"], "colon"),
    ],
)
def test_what_cannot_be_served_is_misuse(arguments: list[str], said: str) -> None:
    ran = in_process("serve", "--port", "0", *arguments)
    assert (ran.status, ran.out) == (2, "")
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_two_servers_share_a_file(tmp_path: Path) -> None:
    """Each sees what the other one wrote."""
    file = str(tmp_path / "app.db")
    with serving("--data", file) as (_, one), serving("--data", file) as (_, two):
        with Session(one["url"], auth="a:b") as session:
            session.kv["x"] = 1
        with Session(two["url"], auth="a:b") as session:
            assert session.kv["x"] == 1
            assert Template.find(session=session).count() == 0


@pytest.mark.parametrize("command", [["browse", "--server", "memory://"], ["serve", "--browse"]])
def test_without_its_extra_the_page_says_what_to_install(command: list[str]) -> None:
    code = (
        "import sys\nsys.modules['starlette'] = None\nsys.modules['uvicorn'] = None\n"
        "from kinto_orm.cli import main\nmain()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command, *(["--port", "0"] if "--browse" in command else [])],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "pip install 'kinto-orm[web]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "warns"),
    [
        (["--server", "http://tom:s3cret@127.0.0.1:9/v1"], True),
        (["--server", "http://127.0.0.1:9/v1", "--auth", "tom:s3cret"], True),
        (["--server", "http://127.0.0.1:9/v1"], False),
    ],
)
def test_a_page_that_acts_for_everybody_says_so(
    tmp_path: Path, arguments: list[str], warns: bool
) -> None:
    """Also where the credentials stand in the URL; they are not shown."""
    command = [sys.executable, "-m", "kinto_orm.cli", "browse", "--json", "--port", "0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    names = ("KINTO_ORM_SERVER", "KINTO_ORM_AUTH")
    env = {name: value for name, value in BUFFERED.items() if name not in names}
    env["KINTO_ORM_CONFIG"] = str(tmp_path / "profiles.toml")
    with subprocess.Popen([*command, *arguments], env=env, **pipes) as process:
        try:
            assert process.stdout
            assert "page" in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert ("acts as you there" in err) is warns
    assert "s3cret" not in err


def test_its_help_names_no_other_server() -> None:
    """It starts one of its own."""
    assert "--server and --profile may not" in in_process("serve", "--help").out
    assert "--server, --auth" in in_process("browse", "--help").out
