"""Commands that read make nothing, though Kinto makes the personal bucket for whoever looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from kinto_orm import Session
from program import Ran, in_process

_users = count(1)
READING = [
    ("ls",),
    ("ls", "nosuch"),
    ("ls", "/buckets/default"),
    ("ls", "/buckets/default/groups"),
    ("find", "nosuch", "a=1"),
    ("find", "nosuch", "--count"),
    ("get", "nosuch"),
    ("get", "nosuch/x"),
    ("get", "/buckets/default/groups/g"),
    ("perms", "nosuch"),
    ("perms", "nosuch/x"),
    ("history", "nosuch"),
    ("history", "/buckets/default"),
    ("diff", "nosuch", "1 hour ago"),
    ("restore", "nosuch", "1 hour ago", "--dry-run"),
    ("restore", "/buckets/default", "1 hour ago", "--dry-run"),
    ("dump",),
    ("dump", "nosuch"),
    ("dump", "nosuch", "--format", "csv"),
    ("models", "nosuch"),
    ("models",),
    ("kv", "list"),
    ("kv", "get", "nosuch"),
    ("template", "list"),
    ("template", "get", "nosuch"),
    ("template", "render", "nosuch"),
    ("template", "render", "x", "--file", "/dev/null"),
    ("info",),
    ("account",),
]


@pytest.fixture(params=["never used", "used"])
def user(request: pytest.FixtureRequest, http_kinto: str) -> str:
    """Somebody whose personal bucket is there, or is not."""
    auth = f"reader{next(_users)}:s3cret"
    if request.param == "used":
        with Session(http_kinto, auth=auth, collection="there") as session:
            session.request("GET", "/buckets/default/collections/there")
    return auth


@pytest.fixture
def run(user: str, http_kinto: str, no_profile: None) -> Callable[..., Ran]:
    return lambda *arguments: in_process("--server", http_kinto, "--auth", user, *arguments)


def made(url: str, auth: str) -> set[str]:
    """What is in the personal bucket, by somebody who does not look into it."""
    with Session(url, auth=auth) as session:
        bucket = session.resolve_bucket("default")
    with Session(url, auth=auth, dry_run=True) as session:
        entries = {each.uri for each in session.permissions()}
    return {each for each in entries if each.startswith(f"/buckets/{bucket}")}


@pytest.fixture
def before(user: str, http_kinto: str) -> Iterator[set[str]]:
    found = made(http_kinto, user)
    yield found
    assert made(http_kinto, user) == found


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_nothing_is_made(
    before: set[str], run: Callable[..., Ran], command: tuple[str, ...]
) -> None:
    """Whatever is asked for; and no error is the program's own."""
    ran = run(*command)
    assert ran.status in (0, 1)
    assert "dry run" not in ran.err or "--dry-run" in command


@pytest.mark.parametrize(
    "command",
    [
        ("ls", "nosuch"),
        ("find", "nosuch", "a=1"),
        ("dump", "nosuch"),
        ("models", "nosuch"),
        ("find", "nosuch", "--count"),
        ("watch", "nosuch"),
        ("dump", "nosuch", "--format", "csv"),
    ],
)
def test_what_is_not_there(
    before: set[str], run: Callable[..., Ran], command: tuple[str, ...]
) -> None:
    """It is said, as it is of any other bucket."""
    ran = run(*command)
    assert (ran.status, ran.out) == (1, "")
    (line,) = ran.err.splitlines()
    assert "'nosuch'" in line
