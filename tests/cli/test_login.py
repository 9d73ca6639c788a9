"""`login`, and the profile file that it writes."""

from __future__ import annotations

import json
import os
import pty
import select
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from kinto_orm import Account, Session
from kinto_orm.server import open_memory, serve
from program import Ran, as_process, in_process


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A Kinto that knows accounts only, and kvp.io's protocol."""
    settings = {
        "multiauth.policies": "account basicauth",
        "kinto.includes": "kinto_orm.server.kvp",
        "kinto.kvp_api_keys": "123abc",
    }
    with open_memory(settings=settings) as kinto, serve(kinto) as served:
        with Session(served.url, auth=kinto.auth):
            Account(id="ada", password="s3cret").save()
        yield served.url


@pytest.fixture
def profiles(no_profile: None) -> Path:
    return Path(os.environ["KINTO_ORM_CONFIG"])


def login(url: str, *arguments: str, input: str | None = None) -> Ran:
    return in_process("login", "--server", url, *arguments, input=input)


def test_a_password_is_read_from_the_input_and_kept(url: str, profiles: Path) -> None:
    """For its owner's eyes only; what follows needs no more options."""
    ran = login(url, "--auth", "ada", "--name", "work", "--bucket", "shop", input="s3cret\n")
    assert (ran.status, ran.out) == (0, "You are ada.\n")
    assert "s3cret" not in ran.out + ran.err
    assert stat.S_IMODE(profiles.stat().st_mode) == 0o600
    kept = tomllib.loads(profiles.read_text())
    assert kept == {
        "default": "work",
        "work": {"server": url, "auth": "ada:s3cret", "bucket": "shop"},
    }
    assert json.loads(in_process("account", "--json").out)["id"] == "ada"


def test_user_and_password_in_one_line(url: str, profiles: Path) -> None:
    assert login(url, input="ada:s3cret").out == "You are ada.\n"
    assert "127.0.0.1" in tomllib.loads(profiles.read_text())


def test_a_password_that_is_not_the_accounts_is_said(url: str, profiles: Path) -> None:
    """Kinto's policy basicauth takes any: it is another user."""
    ran = login(url, "--auth", "ada", input="wrong\n")
    assert ran.out.startswith("You are basicauth:")
    assert "the password was not that of your account" in ran.err


@pytest.mark.parametrize(
    ("kind", "arguments", "given"),
    [
        ("kvp", [], "wrong\n"),
        ("kinto", ["--token"], "wrong\n"),
        ("kinto", [], "Bearer wrong\n"),
    ],
)
def test_what_the_server_refuses_is_not_kept(
    url: str, profiles: Path, kind: str, arguments: list[str], given: str
) -> None:
    where = f"kvp+{url.removesuffix('/v1')}" if kind == "kvp" else url
    ran = login(where, *arguments, input=given)
    assert (ran.status, ran.out) == (1, "")
    assert not profiles.exists()
    assert "wrong" not in ran.err


def test_an_api_key_of_kvp(url: str, profiles: Path) -> None:
    kvp = f"kvp+{url.removesuffix('/v1')}"
    assert login(kvp, "--name", "kvp", input="123abc\n").status == 0
    assert in_process("kv", "set", "a", "1").status == 0
    assert in_process("kv", "get", "a").out == "1\n"


@pytest.mark.parametrize("given", ["", "\n", "ada\n"])
def test_nothing_given_is_misuse(url: str, profiles: Path, given: str) -> None:
    ran = login(url, input=given)
    assert (ran.status, ran.out) == (2, "")
    assert not profiles.exists()


def test_a_second_login_replaces_the_first_and_keeps_the_rest(url: str, profiles: Path) -> None:
    """The comments and other profiles of the file, and the bucket of this one."""
    profiles.write_text(
        "# mine\n"
        f'[work]\nserver = "{url}"\nauth = "ada:old"\nbucket = "shop" # the shop\n'
        '[other]\nserver = "https://kinto.example/v1"\n'
    )
    profiles.chmod(0o600)
    assert login(url, input="ada:s3cret").status == 0
    kept = tomllib.loads(profiles.read_text())
    assert kept["work"] == {"server": url, "auth": "ada:s3cret", "bucket": "shop"}
    assert kept["other"] == {"server": "https://kinto.example/v1"}
    assert kept["default"] == "work"
    assert "# mine" in profiles.read_text()


def test_a_profile_of_another_server_is_not_replaced_unasked(url: str, profiles: Path) -> None:
    text = 'default = "work"\n[work]\nserver = "https://kinto.example/v1"\n'
    profiles.write_text(text)
    refused = login(url, "--name", "work", input="ada:s3cret")
    assert (refused.status, profiles.read_text()) == (2, text)
    assert "is of https://kinto.example/v1" in refused.err
    assert login(url, "--name", "work", "--force", input="ada:s3cret").status == 0
    assert tomllib.loads(profiles.read_text())["work"]["server"] == url


def test_credentials_in_a_url_are_misuse(profiles: Path) -> None:
    """A URL is shown in many places."""
    ran = login("https://ada:s3cret@kinto.example/v1", input="ada:s3cret")
    assert (ran.status, profiles.exists()) == (2, False)
    assert "s3cret" not in ran.out + ran.err


def test_a_name_that_the_file_needs_itself_is_misuse(url: str, profiles: Path) -> None:
    assert login(url, "--name", "default", input="ada:s3cret").status == 2


@pytest.mark.parametrize("text", ["no = toml = at all", 'work = "x"', "[work]\nserver = 1\n"])
def test_a_file_that_cannot_be_read_is_left_as_it_is(url: str, profiles: Path, text: str) -> None:
    profiles.write_text(text)
    ran = login(url, input="ada:s3cret")
    assert (ran.status, profiles.read_text()) == (2, text)
    assert str(profiles) in ran.err


def test_a_file_that_others_may_read_is_refused(url: str, profiles: Path) -> None:
    assert login(url, input="ada:s3cret").status == 0
    profiles.chmod(0o644)
    ran = in_process("account")
    assert ran.status == 2
    assert f"chmod 600 {profiles}" in ran.err


def test_a_file_of_its_own_needs_no_password(profiles: Path, tmp_path: Path) -> None:
    """An embedded Kinto has a user of its own."""
    Session(f"sqlite:///{tmp_path}/a.db").close()
    assert login(f"sqlite:///{tmp_path}/a.db", "--name", "file", input="").status == 0
    assert in_process("kv", "set", "a", "1").status == 0


# Its terminal is the one that sends it Ctrl-C.
_AT_TERMINAL = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from kinto_orm.cli import main
main()
"""


def at_terminal(*arguments: str, typed: list[str]) -> tuple[int, str]:
    """Run the program at a terminal, and type when it asks; all that the terminal shows."""
    parent, child = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", _AT_TERMINAL, *arguments],
        stdin=child,
        stdout=child,
        stderr=child,
        start_new_session=True,
    ) as process:
        os.close(child)
        shown = b""
        for each in typed:
            while not shown.rstrip(b" ").endswith(b":"):
                shown += shown_by(parent)
            os.write(parent, each.encode())
            shown += b"\n"
        while data := shown_by(parent):
            shown += data
        status = process.wait(60)
    os.close(parent)
    return status, shown.decode()


def shown_by(terminal: int) -> bytes:
    """What comes next; nothing at the end."""
    assert select.select([terminal], [], [], 60)[0]
    try:
        return os.read(terminal, 1000)
    except OSError:  # it is closed at its other end
        return b""


def test_at_a_terminal_it_asks_and_shows_no_password(url: str, profiles: Path) -> None:
    status, shown = at_terminal("login", "--server", url, typed=["ada\n", "s3cret\n"])
    assert status == 0
    assert "User: " in shown
    assert "Password of ada: " in shown
    assert "s3cret" not in shown
    assert "You are ada." in shown


def test_ctrl_c_at_a_prompt_keeps_nothing(url: str, profiles: Path) -> None:
    status, shown = at_terminal("login", "--server", url, typed=["ada\n", "\x03"])
    assert (status, profiles.exists()) == (130, False)
    assert "Traceback" not in shown


def test_as_a_process(url: str, tmp_path: Path) -> None:
    config = str(tmp_path / "below" / "profiles.toml")
    ran = as_process(
        "login", "--server", url, "--auth", "ada", input="s3cret\n", KINTO_ORM_CONFIG=config
    )
    assert (ran.status, ran.out) == (0, "You are ada.\n")
    assert "kept as '127.0.0.1'" in ran.err
