"""`info` and `account`."""

from __future__ import annotations

import json

import pytest

from kinto_orm import Session
from program import Run, as_process, in_process


def test_info_says_where_and_who(program_session: Session, program: Run) -> None:
    told = json.loads(program("info", "--json").out)
    info = program_session.server_info()
    assert told["version"] == info.version
    assert told["user"] == info.user["id"]
    assert "history" in told["capabilities"]
    assert f"user          {told['user']}\n" in program("info").out


def test_account_says_who(program_session: Session, program: Run) -> None:
    told = json.loads(program("account", "--json").out)
    account = program_session.account()
    assert (told["id"], told["bucket"]) == (account.id, account.bucket)
    assert told["reads"] is None
    assert "reads" not in program("account").out


@pytest.mark.parametrize("command", ["info", "account", "doctor", "kv list", "template list"])
def test_no_server_given_is_misuse(command: str, no_profile: None) -> None:
    ran = in_process(*command.split())
    assert (ran.status, ran.out) == (2, "")
    assert "give --server URL" in ran.err


def test_nobody_is_refused(http_kinto: str, no_profile: None) -> None:
    """Without credentials: `info` says what there is, `account` has nobody to tell of."""
    assert in_process("info", "--server", http_kinto).status == 0
    ran = in_process("account", "--server", http_kinto)
    assert (ran.status, ran.out) == (1, "")
    assert "recognises no user" in ran.err


def test_as_a_process(tmp_path: object) -> None:
    with Session(f"sqlite:///{tmp_path}/a.db") as session:
        session.server_info()
    ran = as_process("info", "--server", f"sqlite:///{tmp_path}/a.db", "--json")
    assert (ran.status, ran.err) == (0, "")
    assert json.loads(ran.out)["server"].startswith("sqlite:")
