"""Permissions and groups in words; granting and revoking."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinto_orm import Account, Bucket, Collection, Group, Permissions, Record, Session
from kinto_orm.server import open_memory, serve
from kinto_orm.web.words import MAY, who
from web_page.reader import Browser, record

WHO = [
    ("system.Everyone", "everyone, also without logging in"),
    ("system.Authenticated", "everyone who is logged in"),
    ("account:alexis", "alexis"),
    ("me:1", "you (tom)"),
    ("/buckets/blog/groups/writers", "the group writers of the bucket blog"),
    ("basicauth:" + "a" * 64, "basicauth aaaaaaaa…aaaa"),
    ("portier:a@b.c", "portier:a@b.c"),
    ("odd", "odd"),
]


@pytest.mark.parametrize(("principal", "words"), WHO)
def test_who(principal: str, words: str) -> None:
    """A principal in words."""
    assert who(principal, "me:1", "tom") == words


@given(st.text())
def test_whatever_a_principal_is(principal: str) -> None:
    """Kinto checks none, so that any text may be one."""
    assert isinstance(who(principal), str)


@pytest.fixture(scope="module")
def with_accounts() -> Iterator[str]:
    """A Kinto with accounts, by whose names people are known."""
    settings = {
        "multiauth.policies": "account",
        "multiauth.policy.account.use": "kinto.plugins.accounts.authentication."
        "AccountsAuthenticationPolicy",
        "kinto.account_create_principals": "system.Everyone",
        "kinto.bucket_create_principals": "system.Authenticated",
    }
    with open_memory(settings=settings) as server, serve(server) as served:
        with Session(served.url) as session:
            for name in ("tom", "alexis"):
                Account(id=name, password="pw").save(session=session)
        yield served.url


def test_granting_and_revoking(opening: Callable[..., Browser], with_accounts: str) -> None:
    """By the name of an account; the one who was named can, and then can no more."""
    with Session(with_accounts, auth=("tom", "pw"), bucket="shared", collection="c") as session:
        Bucket(id="shared").save()
        Collection(id="c").save()
        record("a", x=1)
        browser = opening(with_accounts).log_in("tom", "pw")
        page = "/buckets/shared/collections/c/records/a/permissions"
        browser.get(page)
        assert "you (tom) can read and change this record" in browser.said
        browser.send(page, who="person", person="alexis", permission="write")
        assert "alexis can now read and change this record" in browser.said
        assert "alexis can read and change this record, and share it Take away" in browser.said
        with Session(with_accounts, auth=("alexis", "pw")) as other:
            theirs = other.scoped(bucket="shared", collection="c").get(Record, "a")
            theirs["x"] = 2
            theirs.save()
        browser.send(page, act="revoke", permission="write", who="account:alexis")
        assert "alexis can no longer" in browser.said
        assert session.get(Record, "a").permissions.write == {"account:tom"}


@pytest.mark.parametrize("kind", ["bucket", "collection", "group"])
def test_each_kind_has_its_permissions(browser: Browser, session: Session, kind: str) -> None:
    """Each can be granted, by the page of that object."""
    bucket = session.bucket
    Bucket.get(bucket).groups.new(id="g").save()
    page = {
        "bucket": f"/buckets/{bucket}/permissions",
        "collection": f"/buckets/{bucket}/collections/todos/permissions",
        "group": f"/buckets/{bucket}/groups/g/permissions",
    }[kind]
    browser.get(page)
    for name, words in MAY[kind].items():
        browser.send(page, act="grant", who=f"/buckets/{bucket}/groups/g", permission=name)
        assert f"the group g of the bucket {bucket} can now {words}" in browser.said
    model = {"bucket": Bucket, "collection": Collection, "group": Group}[kind]
    stored = model.get({"bucket": bucket, "collection": "todos", "group": "g"}[kind])
    granted = stored.permissions.model_dump(by_alias=True)
    for name in MAY[kind]:
        assert f"/buckets/{bucket}/groups/g" in granted[name]


def test_who_may_not_write_is_told_so(
    opening: Callable[..., Browser], session: Session, at: str
) -> None:
    """Kinto shows permissions to those who may write; granting is refused with a page."""
    Record(id="a", permissions=Permissions(read={"system.Everyone"})).save()
    browser = opening().log_in("other", "x")
    browser.get(f"{at}/records/a/permissions")
    assert "is shown to those who may change it, and you may not" in browser.said
    browser.send(f"{at}/records/a/permissions", 403, who="system.Everyone", permission="write")
    assert "You may not see or do this" in browser.said


def test_a_name_where_there_are_no_accounts_by_name(
    browser: Browser, session: Session, at: str
) -> None:
    """Nobody is refused with the way out, and a whole principal is taken as it is."""
    record("a")
    page = f"{at}/records/a/permissions"
    browser.get(page)
    browser.send(page, 422, who="person", person="", permission="read")
    assert "Nobody was named" in browser.said
    browser.get(page)
    browser.send(page, who="person", person="portier:<b>@x", permission="read")
    assert "portier:<b>@x can now read this record" in browser.said
    browser.send(page, 422, who="person", person="portier:x", permission="fly")


def test_looking_around_without_logging_in(
    opening: Callable[..., Browser], session: Session, at: str
) -> None:
    """What everyone may read is shown; all else is refused with a page."""
    record("a", x="public")
    collection = Collection.get("todos")
    collection.permissions.grant("read", "system.Everyone").save()
    browser = opening()
    browser.get("/login")
    browser.page = browser.client.post(
        "/login", data={"csrf": browser.form("/login").values["csrf"], "anonymous": "1"}
    )
    browser.get(at)
    assert "public" in browser.said
    browser.get(f"/buckets/{session.bucket}", 401)
    assert "The server does not know you" in browser.said


# Groups


def test_groups(browser: Browser, session: Session) -> None:
    """Made, filled, and deleted."""
    page = f"/buckets/{session.bucket}/groups"
    browser.get(page)
    browser.send(page, id="writers")
    assert "Nobody is in this group" in browser.said
    browser.send(f"{page}/writers", members="portier:a@b.c\r\n\r\nportier:d@e.f")
    assert "In this group: portier:a@b.c, portier:d@e.f" in browser.said
    assert Group.get("writers").members == ["portier:a@b.c", "portier:d@e.f"]
    browser.get(page)
    assert "writers has portier:a@b.c, portier:d@e.f" in browser.said
    browser.get(f"{page}/writers")
    browser.send(f"{page}/writers", 422, members="system.Everyone")
    browser.get(f"{page}/writers")
    browser.send(f"{page}/writers/delete")
    assert "There are no groups here" in browser.said


def test_two_change_a_group(browser: Browser, session: Session) -> None:
    """The conflict is shown as of a record."""
    path = f"/buckets/{session.bucket}/groups/g"
    theirs = Group(id="g", members=["x:a"]).save()
    browser.get(path)
    theirs.members = ["x:a", "x:theirs"]
    theirs.save()
    browser.send(path, 409, members="x:mine")
    assert "x:theirs" in browser.said
    browser.send(f"{path}/merge", **{"pick:members": "theirs"})
    assert Group.get("g").members == ["x:a", "x:theirs"]


def test_members_that_nobody_touched(opening: Callable[..., Browser], with_accounts: str) -> None:
    """They stay as they are; only what was added is completed."""
    with Session(with_accounts, auth=("tom", "pw"), bucket="members") as session:
        Bucket(id="members").save(session=session)
        odd = ["bob", " sp ", "x:a\x0bb", "x:one\r\ntwo"]
        Group(id="g", members=odd).save(session=session)
        before = session.get(Group, "g").members
        browser = opening(with_accounts).log_in("tom", "pw")
        path = "/buckets/members/groups/g"
        browser.get(path)
        browser.send(path)
        assert "Nothing had changed" in browser.said
        form = browser.form(path).values["members"]
        for each in ("x:one", "two"):
            form = form.replace(f"{each}\r\n", "").removesuffix(f"\r\n{each}")
        browser.send(path, members=f"{form}\r\n alexis ")
        kept = [each for each in before if "two" not in each]
        assert sorted(session.get(Group, "g").members) == sorted([*kept, "account:alexis"])


def test_names_where_people_have_none(browser: Browser, session: Session, at: str) -> None:
    """A name that reaches nobody is refused, and it is said how people are known."""
    record("a")
    Group(id="g", members=["bob"]).save()
    for page, changes in [
        (f"{at}/records/a/permissions", {"who": "person", "person": "eve", "permission": "read"}),
        (f"/buckets/{session.bucket}/groups/g", {"members": "eve"}),
    ]:
        browser.get(page)
        assert "does not know people by plain names" in browser.said
        browser.send(page, 422, **changes)
        assert "reaches nobody" in browser.said
        assert "basicauth:" in browser.said
