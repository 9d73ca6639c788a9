"""Accounts: who the user is, and the users of the accounts plugin, whose passwords stay hidden."""

from __future__ import annotations

import copy
import json
import pickle
import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from conftest import Backend
from faults import FaultyServer, answer_lost, says
from kinto_orm import (
    Account,
    Conflict,
    Everyone,
    Forbidden,
    InvalidData,
    NotFound,
    NotLoaded,
    Retry,
    Session,
    Unauthorized,
    Unsupported,
)
from kinto_orm.models.contents import raw_of
from kinto_orm.server import LoopbackServer

PASSWORD, OTHER = "wonderland-1", "looking-glass-2"
HASH = re.compile(r"\$2[aby]\$")


@pytest.fixture
def admin(backend: Backend) -> Iterator[Session]:
    """The current session: that of the server's own user, who may manage all accounts."""
    with backend.session() as session:
        yield session


@pytest.fixture
def anonymous(loopback: LoopbackServer) -> Session:
    """A session of nobody."""
    return Session(loopback.url)


@pytest.fixture
def name(backend: Backend) -> str:
    """The id of an account that nobody has yet."""
    return backend.new_id("alice")


def login(server: LoopbackServer, name: str, password: str) -> Session:
    return Session(server.url, auth=(name, password))


def assert_hidden(*shown: object) -> None:
    """No password and no hash is in any of these, however it is looked at."""
    for each in shown:
        for text in (repr(each), str(each), str(getattr(each, "__dict__", ""))):
            assert PASSWORD not in text
            assert OTHER not in text
            assert not HASH.search(text)


# Who the user is


def test_the_user_of_a_session(backend: Backend) -> None:
    """An account has what the server says of the user, and None for what it does not say."""
    with backend.session(auth=(backend.new_id("bob"), "pw")) as session:
        account = session.account()
        user: Any = session.server_info().user
        assert (account.id, account.principals) == (user["id"], user["principals"])
        assert account.bucket == session.resolve_bucket("default")
        assert (account.email, account.reads, account.size) == (None, None, None)
        assert account.principal == account.id


def test_nobody_is_unauthorized(anonymous: Session) -> None:
    """Without a login there is no account, and the error says what to check."""
    with pytest.raises(Unauthorized, match="recognises no user"):
        anonymous.account()


def test_users_of_other_policies_cannot_be_changed(backend: Backend) -> None:
    """A user who is no account of the plugin is Unsupported, not a bad id."""
    with backend.session() as session:
        account = session.account()
        for act in (account.refresh, account.delete):
            with pytest.raises(Unsupported, match="another policy"):
                act()


def test_an_email_address_as_id(admin: Session, loopback: LoopbackServer, name: str) -> None:
    """An id may be an e-mail address; then the account shows it as one."""
    Account(id=f"{name}+x@example.org", password=PASSWORD).save()
    account = login(loopback, f"{name}+x@example.org", PASSWORD).account()
    assert account.id == account.email == f"{name}+x@example.org"


# The life of an account


def test_the_life_of_an_account(anonymous: Session, loopback: LoopbackServer, name: str) -> None:
    """Nobody creates an account, logs in with it, changes its password and deletes it."""
    account = Account(id=name, password=PASSWORD)
    assert account.is_new
    assert account.save(session=anonymous) is account
    assert (account.password, account.diff()) == (None, {})

    own = login(loopback, name, PASSWORD)
    me = own.account()
    assert (me.id, me.principal) == (name, f"account:{name}")
    assert me.principals is not None
    assert me.principal in me.principals
    me.refresh()
    assert me.principals is not None
    me.password = OTHER
    assert list(me.diff()) == ["password"]
    me.save()
    assert (me.password, me.diff()) == (None, {})

    assert login(loopback, name, PASSWORD).account().id != name
    changed = login(loopback, name, OTHER)
    assert changed.account().id == name
    assert Account.get(name, session=changed).last_modified == me.last_modified
    me.delete(session=changed)
    assert login(loopback, name, OTHER).account().id != name


def test_an_administrator_manages_accounts(admin: Session, name: str) -> None:
    """The verbs of all models work on accounts."""
    account, created = Account.get_or_create(name, password=PASSWORD)
    assert created
    assert Account.get_or_none(f"{name}x") is None
    with pytest.raises(NotFound):
        Account.get(f"{name}x")
    assert Account.get(name) == account
    account.permissions.grant("read", Everyone).save()
    account.password = SecretStr(OTHER)
    account.save()
    assert account.refresh().permissions.read == {Everyone}
    account.delete()
    assert Account.get_or_none(name) is None


def test_save_sends_what_changed(admin: Session, name: str) -> None:
    """Nothing changed, nothing is sent; a forced save needs the password again."""
    account = Account(id=name, password=PASSWORD).save()
    saved = account.last_modified
    assert account.save().last_modified == saved
    with pytest.raises(InvalidData, match="needs a password"):
        account.save(force=True)
    account.password = OTHER
    assert account.save(force=True).last_modified != saved


def test_what_is_known_of_the_user_is_no_loaded_account(
    anonymous: Session, loopback: LoopbackServer, name: str
) -> None:
    """session.account() cannot be saved before it is refreshed."""
    Account(id=name, password=PASSWORD).save(session=anonymous)
    me = login(loopback, name, PASSWORD).account()
    assert me.is_partial
    me.password = OTHER
    with pytest.raises(NotLoaded, match="refresh"):
        me.save()


def test_another_persons_account(anonymous: Session, loopback: LoopbackServer, name: str) -> None:
    """Who is logged in may make or read no other account."""
    Account(id=name, password=PASSWORD).save(session=anonymous)
    own = login(loopback, name, PASSWORD)
    with pytest.raises(
        InvalidData, match="logged in as another user: make an account in a session without"
    ):
        Account(id=f"{name}x", password=OTHER).save(session=own)
    with pytest.raises(Forbidden):
        Account.get(f"{name}x", session=own)
    with pytest.raises(Unauthorized):
        Account.get(name, session=anonymous)


# What is refused before it is sent


@pytest.mark.parametrize(
    ("password", "complaint"),
    [
        (None, "needs a password"),
        ("", "0 bytes"),
        ("x" * 73, "73 bytes"),
        ("é" * 37, "74 bytes"),
        ("a\0b", "NUL"),
        ("\ud800", "surrogate"),
    ],
)
def test_passwords_that_the_server_cannot_take(
    admin: Session, name: str, password: Any, complaint: str
) -> None:
    """Bcrypt takes 1 to 72 bytes; what it does not take is refused here."""
    account = Account(id=name, password=password)
    for force in (False, True):
        with pytest.raises(InvalidData, match=complaint):
            account.save(force=force)
    assert Account.get_or_none(name) is None
    account.password = "é" * 36
    account.save()
    account.password = password or ""
    with pytest.raises(InvalidData):
        account.save()


@pytest.mark.parametrize("figure", ["principals", "bucket", "email", "reads", "size"])
def test_figures_cannot_be_set(figure: str) -> None:
    """What the server says of a user is not the client's to say."""
    with pytest.raises(InvalidData, match="cannot be set"):
        Account(**{"id": "x", figure: None})
    with pytest.raises(ValidationError, match="frozen"):
        setattr(Account(id="x"), figure, None)


@pytest.mark.parametrize(
    "given", [{"pasword": PASSWORD}, {"password": [PASSWORD]}, {"password": 5}]
)
def test_a_refused_constructor_shows_no_password(given: dict[str, Any]) -> None:
    """A misspelt name or a wrong type is an error that does not repeat the value."""
    with pytest.raises(ValidationError) as raised:
        Account(**{"id": "x", **given})
    assert_hidden(raised.value)


def test_a_password_is_not_sent_as_a_patch_document(admin: Session, name: str) -> None:
    """The server would store it as it is: the permissions have to be saved first."""
    account = Account(id=name, password=PASSWORD).save()
    account.permissions.grant("read", Everyone)
    account.password = OTHER
    with pytest.raises(InvalidData, match="by themselves"):
        account.save()
    account.permissions.save()
    account.save()
    assert account.refresh().permissions.read == {Everyone}


def test_a_server_without_the_plugin() -> None:
    """Where there are no accounts it is Unsupported, and nothing but the root page is asked."""
    with FaultyServer(says(200, {"capabilities": {}, "user": {"id": "x:1"}})) as server:
        session = Session(server.url, auth="a:b")
        with pytest.raises(Unsupported, match="lacks the capability 'accounts'"):
            Account(id="x", password=PASSWORD).save(session=session)
        assert server.methods == ["GET"]


# Nothing shows passwords or hashes


def test_an_unsaved_password_is_hidden() -> None:
    """No way of looking at an account shows the password that it was given."""
    account = Account(id="alice", password=PASSWORD)
    assert_hidden(account, account.diff(), account.model_dump(), account.model_dump_json())
    assert PASSWORD.encode() not in pickle.dumps(account)
    assert pickle.loads(pickle.dumps(account)).password is None
    for made in (copy.copy(account), copy.deepcopy(account)):
        assert made.diff().keys() == {"password"}


def test_no_answer_leaves_a_hash_behind(admin: Session, name: str) -> None:
    """The hash of the server's answers is nowhere in what was saved, loaded or refreshed."""
    saved = Account(id=name, password=PASSWORD).save()
    loaded = Account.get(name)
    refreshed = Account.get(name).refresh()
    loaded.permissions.grant("read", Everyone).save()
    changed = Account.get(name)
    changed.password = OTHER
    changed.save()
    for each in [saved, loaded, refreshed, changed, *Account.find()]:
        assert_hidden(each, each.model_dump(), each.diff(), each.model_extra, raw_of(each))
        assert not HASH.search(pickle.dumps(each).decode("latin-1"))


def test_no_error_shows_a_password_or_a_hash(admin: Session, name: str) -> None:
    """A Conflict shows both accounts, and neither's password."""
    first = Account(id=name, password=PASSWORD).save()
    second = Account.get(name)
    second.password = OTHER
    second.save()
    first.password = "third-password"
    with pytest.raises(Conflict) as stale:
        first.save()
    with pytest.raises(Conflict) as exists:
        Account(id=name, password=PASSWORD).save()
    with pytest.raises(Conflict) as deletion:
        Account.get(name), first.delete()
    for raised in (stale, exists, deletion):
        error = raised.value
        assert_hidden(error, error.details, error.base, error.remote, raw_of(error.remote))
        assert error.request is not None
        assert error.request.body is None
        assert "third" not in repr(error.local)
    stale.value.merge().save()
    assert first.diff() == {}


def test_a_lost_answer_is_not_taken_for_success(
    proxy: FaultyServer, anonymous: Session, name: str
) -> None:
    """Whether an account that exists has this password cannot be told: it is a Conflict."""
    session = Session(proxy.url, retry=Retry(backoff_factor=0.001))
    session.server_info()
    proxy.answers.extend([answer_lost])
    with pytest.raises(Conflict):
        Account(id=name, password=PASSWORD).save(session=session)
    assert json.loads(proxy.received[-1].body) == {"data": {"password": PASSWORD}}


def test_an_id_that_is_taken(anonymous: Session, name: str) -> None:
    """Somebody else's account is a Conflict, with the session given in the call alone."""
    Account(id=name, password=PASSWORD).save(session=anonymous)
    with pytest.raises(Conflict) as raised:
        Account(id=name, password=OTHER).save(session=anonymous)
    assert raised.value.remote.id == name
    assert_hidden(raised.value, raised.value.details, raised.value.remote)


def test_the_rule_of_account_ids_is_that_of_accounts() -> None:
    """They may be mail addresses; the message names the signs that they take."""
    with pytest.raises(InvalidData, match=r"id of an account: .*'\+', '\.' and '@'"):
        Account(id="b b", password=PASSWORD).save(session=Session("memory://tests"))
