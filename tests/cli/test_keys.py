"""`kv`: the values of a Kinto, and of a kvp.io server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinto_orm.server import open_memory, serve
from program import Run, as_process, in_process


def test_values_go_there_and_back(program: Run) -> None:
    go_there_and_back(program)


def test_values_go_there_and_back_over_kvp(kvp_program: Run) -> None:
    go_there_and_back(kvp_program)


def go_there_and_back(program: Run) -> None:
    """Each kind of value, below a key and at the end of a list."""
    for path, value in (
        ("site", '{"host": "example.org", "ports": [80]}'),
        ("site/ports/-", "443"),
        ("site/name", "Example"),
        ("site/on", "true"),
        ("version", "1.2.3"),
    ):
        ran = program("kv", "set", path, value)
        assert (ran.status, ran.out, ran.err) == (0, "", "")
    assert program("kv", "get", "site/ports/1").out == "443\n"
    assert program("kv", "get", "site/name").out == "Example\n"
    assert program("kv", "get", "site/name", "--json").out == '"Example"\n'
    assert program("kv", "get", "version", "--json").out == '"1.2.3"\n'
    whole = {"host": "example.org", "ports": [80, 443], "name": "Example", "on": True}
    assert json.loads(program("kv", "get", "site").out) == whole
    assert sorted(program("kv", "list").out.splitlines()) == ["site", "version"]
    assert program("kv", "list", "ver", "--values", "--json").out == (
        '{"key": "version", "value": "1.2.3"}\n'
    )
    assert program("kv", "del", "site/ports/0").status == 0
    assert json.loads(program("kv", "get", "site/ports").out) == [443]
    assert program("kv", "del", "site").status == 0
    assert program("kv", "list").out == "version\n"


def test_what_is_not_there(program: Run, kvp_program: Run) -> None:
    for each in (program, kvp_program):
        miss(each)


def miss(program: Run) -> None:
    for command in (["get", "no/such"], ["del", "no"]):
        ran = program("kv", *command)
        assert (ran.status, ran.out) == (1, "")
        assert "no" in ran.err
    assert program("kv", "del", "no", "--missing-ok").status == 0


def test_a_value_from_the_input_and_from_a_file(program: Run, tmp_path: Path) -> None:
    assert program("kv", "set", "a", "-", input='{"n": [1, 2]}\n').status == 0
    assert program("kv", "get", "a/n/1").out == "2\n"
    file = tmp_path / "notes.md"
    file.write_bytes("# Grüße\r\n".encode())
    assert program("kv", "set", "b", "--file", str(file), "--text").status == 0
    assert program("kv", "get", "b", "--json").out == '"# Grüße\\r\\n"\n'
    assert program("kv", "set", "c", "-", input="one line\n").status == 0
    assert program("kv", "get", "c").out == "one line\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a"], "give the value"),
        (["a", "1", "--file", "x"], "give the value"),
        (["a", '{"n": 1'], "is no JSON"),
        (["a", '{"n": 1, "n": 2}'], "'n' is there twice"),
        (["a", "[NaN]"], "NaN"),
        (["a", "--file", "/no/such"], "/no/such cannot be read"),
        (["a//b", "1"], "segment"),
        (["", "1"], "is empty"),
    ],
)
def test_what_cannot_be_meant_is_misuse(program: Run, arguments: list[str], said: str) -> None:
    ran = program("kv", "set", *arguments)
    assert (ran.status, ran.out) == (2, "")
    assert said in ran.err


def test_what_begins_with_a_dash(program: Run) -> None:
    assert program("kv", "set", "a", "--", "-5").status == 0
    assert program("kv", "get", "a", "--json").out == "-5\n"


def test_bytes_that_are_no_text_are_misuse(program: Run, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff")
    ran = program("kv", "set", "a", "--file", str(tmp_path / "x"))
    assert ran.status == 2
    assert "is no text in UTF-8" in ran.err


def test_a_path_through_a_text_is_misuse(program: Run) -> None:
    program("kv", "set", "a", "text")
    ran = program("kv", "set", "a/b/c", "1")
    assert ran.status == 2
    assert program("kv", "get", "a").out == "text\n"


def test_a_wrong_key_is_refused(no_profile: None) -> None:
    settings = {"kinto.includes": "kinto_orm.server.kvp", "kinto.kvp_api_keys": "123abc"}
    with open_memory(settings=settings) as server, serve(server) as http:
        kvp = f"kvp+{http.url.removesuffix('/v1')}"
        ran = in_process("kv", "get", "a", "--server", kvp, "--auth", "another:")
    assert (ran.status, ran.out) == (1, "")
    assert "another" not in ran.err


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text("ab {[\"'-1\n\té"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_what_json_prints_can_be_given_again(value: Any) -> None:
    """`kv get --json` and `kv set` agree, whatever the value is."""
    from kinto_orm.cli.given import value_of

    assert value_of(json.dumps(value, ensure_ascii=False), "-") == value


def test_as_a_process(tmp_path: Path) -> None:
    server = f"sqlite:///{tmp_path}/a.db"
    assert as_process("kv", "set", "a", "-", "--server", server, input="[1]").status == 0
    ran = as_process("--server", server, "kv", "get", "a", "--json")
    assert (ran.status, ran.out, ran.err) == (0, "[1]\n", "")
