"""Errors tell somebody at a terminal what to type, and speak no Python."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import kinto_orm
from kinto_orm import KintoError, Record, Session, errors
from kinto_orm.cli.wording import advice_for, has_python, said_of
from kinto_orm.server import open_memory, serve
from program import filled, in_process

HERE = Path(kinto_orm.__file__).parent
ROOMS = ("bulk", "kv", "models", "queries", "templates", "wire")


def _raised() -> Iterator[tuple[str, type[KintoError], str]]:
    """All messages that the library raises as they stand in its source; x is what is filled in."""
    for file in (each for room in ROOMS for each in sorted((HERE / room).rglob("*.py"))):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
                cls = getattr(errors, ast.unparse(node.exc.func), None)
                text = _text(node.exc.args[0])
                known = isinstance(cls, type) and issubclass(cls, KintoError)
                if text and known and cls is not errors.BatchError:
                    yield f"{file.name}:{node.lineno}", cls, text


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if not isinstance(node, ast.JoinedStr):
        return ""
    return "".join(
        str(part.value)
        if isinstance(part, ast.Constant)
        else "'x'"
        if isinstance(part, ast.FormattedValue) and part.conversion == ord("r")
        else "x"
        for part in node.values
    )


RAISED = list(_raised())


def test_no_message_of_the_library_speaks_python() -> None:
    """Each as it stands in the source: none of it is a call, and something is said."""
    assert len(RAISED) > 150
    for where, cls, text in RAISED:
        said = said_of(cls(text))
        assert not has_python(said), (where, said)
        assert said, where


def test_what_has_no_python_is_said_as_it_is() -> None:
    for where, cls, text in RAISED:
        if not has_python(text) and "does not exist" not in text:
            assert said_of(cls(text)).startswith(text[:20]), where


@pytest.mark.parametrize("cls", [each for each in vars(errors).values() if isinstance(each, type)])
def test_each_kind_has_its_advice(cls: type) -> None:
    """In one table; a new kind has that of the class above it."""
    if issubclass(cls, KintoError) and cls is not errors.BatchError:
        assert "kinto-orm" in advice_for(cls("x")) or "--" in advice_for(cls("x"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cannot find Record.find(): not found.", "cannot find objects (Record): not found."),
        ("the field 'f(x)' is wrong", "the field 'f(x)' is wrong"),
        ("The server said 400: f(x) is wrong.", "The server said 400: f(x) is wrong."),
        ("1 problem(s) found", "1 problem(s) found"),
    ],
)
def test_what_was_typed_is_said_as_it_is(text: str, said: str) -> None:
    """What is in quotes, and what the server says."""
    assert said_of(KintoError(text)) == said


@pytest.fixture(scope="module")
def kinto() -> Iterator[str]:
    with open_memory() as server, serve(server) as http:
        with Session(http.url, auth="ada:pw", bucket="full") as session:
            kinto_orm.Bucket(id="full").save()
            scope = filled(session, {"id": "a", "n": 1})
            scope.save(Record(id="b", n="x"))
            session.kv.set("site", {"ports": [1]})
            kinto_orm.Template(name="t", source="{{ site.no }}").save(session=session)
            schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
            kinto_orm.Collection(id="strict", schema=schema).save(session=session)
        yield http.url


WHO = (("--auth", "ada:pw"), ("--auth", "eve:pw"), ())
WRONG = (
    *(("get", each) for each in ("todos/no", "no/a", "/buckets/no", "/buckets/full/groups/no")),
    *(("ls", each) for each in ("no", "/buckets/no", "/buckets/full/collections/no/records")),
    *(("find", "todos", each) for each in ("n>", "n in", "last_modified in 1,2", "a.b..c=1", "n~")),
    ("find", "todos", "n exists", "m not exists"),
    ("find", "todos", "n=1", "--sort", "a-b"),
    ("find", "todos", "--fields", "a b"),
    *(
        ("put", "todos/a", each)
        for each in ('{"last_modified": 1}', '{"last_modified": "x"}', "[]")
    ),
    ("put", "todos/a", '{"n": 1e999}'),
    ("put", "todos/a", '{"n": "\\u0000"}'),
    ("put", "strict/a", '{"n": "x"}'),
    ("put", "no/a", "{}"),
    ("patch", "no/a", "{}"),
    ("patch", "todos/no", "{}"),
    ("patch", "strict/a", '{"n": "x"}'),
    ("rm", "todos/no", "--yes"),
    ("rm", "/buckets/no", "--yes"),
    ("cp", "todos/a", "todos/b"),
    ("cp", "no", "other"),
    ("mv", "todos", "/buckets/no"),
    ("perms", "todos/no"),
    ("perms", "todos", "--grant", "read=nobody"),
    ("history", "todos/no"),
    ("restore", "todos/no", "1 hour ago", "--dry-run"),
    ("watch", "no"),
    ("watch", "todos", "--since", "x"),
    ("dump", "no"),
    ("dump", "/buckets/no"),
    ("models", "no"),
    ("kv", "get", "no"),
    ("kv", "get", "site/no"),
    ("kv", "get", "a//b"),
    ("kv", "set", "site/ports/9", "1"),
    ("kv", "set", "site/no/-", "1"),
    ("kv", "set", "/".join("a" * 101), "1"),
    ("kv", "del", "site/no/x"),
    ("template", "get", "no"),
    ("template", "del", "no"),
    ("template", "set", "t", "no.j2"),
    ("template", "render", "t"),
    ("account",),
)


@pytest.mark.parametrize("command", WRONG, ids=lambda each: " ".join(each)[:40])
def test_no_command_speaks_python(kinto: str, no_profile: None, command: tuple[str, ...]) -> None:
    """Whatever is wrong, and whoever asks."""
    for who in WHO:
        ran = in_process("--server", kinto, "--bucket", "full", *who, *command, input="{{ x ")
        assert not has_python(ran.err), ran.err
        assert "Traceback" not in ran.err
        assert ran.status in (0, 1, 2), ran.err
        assert ran.err or ran.status == 0
