"""What stands before every page: who may ask, from where, what is said of it, and what is not."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

import pytest
from starlette.routing import Route

from kinto_orm import (
    AsyncSession,
    Bucket,
    ConfigurationError,
    KintoError,
    Record,
    Session,
    Unsupported,
)
from kinto_orm.web import app, run
from kinto_orm.web.site import Site
from kinto_orm.web.visits import MOST_VISITS, Visits
from web_page.reader import HERE, USER, Browser, record

OTHER = "http://evil.example"


def routes(browser: Browser, method: str) -> list[str]:
    """All paths that take a method, with something in the place of each name."""
    found = [each for each in browser.client.app.routes if isinstance(each, Route)]  # type: ignore[attr-defined]
    paths = [each.path for each in found if method in (each.methods or ())]
    return [re.sub(r"\{[^}]*\}", "x", path) for path in paths]


def test_every_page_wants_a_login(opening: Callable[..., Browser]) -> None:
    """Without one each page leads to the form, and the form leads back."""
    browser = opening()
    for path in routes(browser, "GET"):
        if path in ("/login", "/x"):
            continue
        answer = browser.client.get(path, follow_redirects=False)
        assert answer.status_code == 303, path
        assert answer.headers["location"].startswith("/login"), path


def test_logging_in_leads_to_what_was_wanted(
    opening: Callable[..., Browser], session: Session, at: str
) -> None:
    """A deep link works for somebody who is not logged in yet."""
    browser = opening()
    browser.get(f"{at}?q=a%3D1")
    browser.send("/login", user=USER[0], password=USER[1])
    assert str(browser.page.url) == f"{HERE}{at}?q=a%3D1"


@pytest.mark.parametrize(
    "wanted", ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:1", ""]
)
def test_logging_in_leads_nowhere_else(opening: Callable[..., Browser], wanted: str) -> None:
    """A link to another site in the place of a page is not followed."""
    browser = opening()
    browser.get("/login", params={"next": wanted})
    form = browser.form("/login")
    form.values |= {"user": "tom", "password": "x"}
    answer = browser.client.post("/login", data=form.values, follow_redirects=False)
    assert answer.headers["location"] == "/"


def test_forms_of_others_are_refused(browser: Browser, session: Session, at: str) -> None:
    """Whatever a form is of: without the token, with another one, or from another site."""
    record("a", n=1)
    browser.get(f"{at}/records/a")
    good = browser.form(f"{at}/records/a").values | {"value:n": "2"}
    for path in routes(browser, "POST"):
        for data, headers in [
            ({}, {}),
            (good | {"csrf": "x"}, {}),
            (good, {"Origin": OTHER}),
            (good, {"Origin": "null"}),
            (good, {"Origin": "http://["}),
            (good, {"Sec-Fetch-Site": "cross-site"}),
            (good, {"Sec-Fetch-Site": "same-site"}),
        ]:
            answer = browser.client.post(path, data=data, headers=headers)
            assert answer.status_code == 403, path
    assert Record.get("a")["n"] == 1
    answer = browser.client.post(
        f"{at}/records/a", data=good, headers={"Origin": HERE, "Sec-Fetch-Site": "same-origin"}
    )
    assert answer.status_code == 200
    assert Record.get("a")["n"] == 2


def test_a_token_is_of_one_visit(opening: Callable[..., Browser], session: Session) -> None:
    """That of one browser does not serve in another one."""
    one, other = opening().log_in(), opening().log_in()
    one.get("/")
    data = one.form("/buckets").values | {"id": "stolen"}
    assert other.client.post("/buckets", data=data).status_code == 403


def test_logging_in_needs_a_token_too(opening: Callable[..., Browser]) -> None:
    """Nobody can log somebody else in as himself."""
    browser = opening()
    browser.get("/login")
    answer = browser.client.post("/login", data={"user": "mallory", "password": "x"})
    assert answer.status_code == 403


def test_headers(browser: Browser, session: Session, at: str) -> None:
    """Every answer forbids what stands in the page itself, and frames; pages are not stored."""
    for path in ["/", at, "/nothing", "/static/page.css", "/static/page.js", "/buckets/no"]:
        answer = browser.client.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        kept = "no-cache" if "static" in path else "no-store"
        assert answer.headers["cache-control"] == kept


def test_nothing_stands_in_the_page_itself(browser: Browser, session: Session, at: str) -> None:
    """No script, no style and no handler is inline, and no file comes from another host."""
    record("a", title="<script>alert(1)</script>", link="javascript:alert(1)")
    for path in ["/", at, f"{at}/records/a", f"{at}/records/a/history", f"{at}/new"]:
        text = browser.get(path)
        assert not re.search(
            r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:\w+\"", text
        )
        assert not re.findall(r'(?:src|href|action)="(?:https?:)?//', text)


def test_cookies(opening: Callable[..., Browser], session: Session) -> None:
    """The cookie says nothing, no script can read it, and logging in gives a new one."""
    browser = opening()
    browser.get("/login")
    before = browser.client.cookies["kinto-orm-9000"]
    form = browser.form("/login").values | {"user": USER[0], "password": USER[1]}
    answer = browser.client.post("/login", data=form, follow_redirects=False)
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert before not in cookie
    assert len(browser.client.cookies["kinto-orm-9000"]) >= 40


STRANGE = ["evil.example", "evil.example:9000", "127.0.0.1.evil.example", "127.0.0.1.", "a:b", "",
           "[::2]:1", "[::"]  # fmt: skip


def test_other_names_are_refused(opening: Callable[..., Browser]) -> None:
    """A name that somebody's DNS points to this machine reaches nothing."""
    browser = opening()
    for host in [
        "[::",
        "127.0.0.1.",
        "a:b",
        "evil.example",
        "evil.example:9000",
        "127.0.0.1.evil.example",
        "",
        "[::2]:1",
    ]:
        answer = browser.client.get("/login", headers={"Host": host})
        assert answer.status_code == 421, host
    for host in ["127.0.0.1:1", "localhost", "LOCALHOST:9", "[::1]:80"]:
        assert browser.client.get("/login", headers={"Host": host}).status_code == 200, host
    browser = opening(hosts=("kinto.example",))
    assert browser.client.get("/login", headers={"Host": "kinto.example"}).status_code == 200
    assert browser.client.get("/login").status_code == 421


def test_only_reading(opening: Callable[..., Browser], session: Session, at: str) -> None:
    """The server refuses whatever writes, and the pages do not offer it."""
    record("a", n=1)
    writing = opening().log_in()
    writing.get(f"{at}/records/a")
    browser = opening(read_only=True).log_in()
    browser.get(f"{at}/records/a")
    token = browser.form("/logout").values
    given = writing.form(f"{at}/records/a").values | {"value:n": "2", "id": "new"} | token
    refused = [each for each in routes(browser, "POST") if each not in ("/login", "/logout")]
    refused = [each for each in refused if not each.endswith("/preview")]
    assert len(refused) > 15
    for path in [*refused, f"{at}/records/a", f"{at}/records/a/delete", "/buckets"]:
        assert browser.client.post(path, data=given).status_code == 403, path
    assert Record.get("a")["n"] == 1
    for path in [
        "/",
        at,
        f"{at}/records/a",
        f"{at}/records/a/history",
        f"{at}/permissions",
        f"/buckets/{session.bucket}",
        f"/buckets/{session.bucket}/keys",
        f"/buckets/{session.bucket}/templates",
        f"/buckets/{session.bucket}/groups",
    ]:
        text = browser.get(path)
        assert set(re.findall(r'method="post" action="([^"]*)"', text)) <= {"/logout"}, path
        assert "only reads" in text


async def test_who_does_nothing_is_forgotten(kinto: str) -> None:
    """With the credentials, and the connections are closed."""
    visits = Visits(lambda auth: AsyncSession(kinto, auth=auth), idle=60.0)
    visit = await visits.log_in(USER, USER[0])
    session = visit.session
    assert session is not None
    assert visits.find(visit.id) is visit
    visit.seen -= 61
    assert visits.find(visit.id) is None
    assert visit.session is None
    await visits.sweep()
    with pytest.raises(ConfigurationError, match="closed"):
        await session.get(Bucket, "x")


async def test_visitors_do_not_pile_up(kinto: str) -> None:
    """Whoever comes without a cookie is one more, and of these only so many are kept."""
    visits = Visits(lambda auth: AsyncSession(kinto, auth=auth), idle=60.0)
    first = visits.begin()
    for _ in range(MOST_VISITS):
        last = visits.begin()
    assert visits.find(first.id) is None
    assert visits.find(last.id) is last


async def test_visitors_put_nobody_out(kinto: str) -> None:
    """However many come without a cookie, as another site can make them: who logged in stays."""
    visits = Visits(lambda auth: AsyncSession(kinto, auth=auth), idle=60.0)
    visit = await visits.log_in(USER, USER[0])
    for _ in range(MOST_VISITS + 1):
        visits.begin()
    assert visits.find(visit.id) is visit
    await visits.close()


async def test_what_a_browser_asks_by_itself_keeps_nobody_logged_in(kinto: str) -> None:
    """A page that is told of changes may stay open for days."""
    visits = Visits(lambda auth: AsyncSession(kinto, auth=auth), idle=60.0)
    visit = visits.begin()
    visit.seen -= 59
    before = visit.seen
    assert visits.find(visit.id, by_itself=True) is visit
    assert visit.seen == before
    assert visits.find(visit.id) is visit
    assert visit.seen > before


def test_what_was_filled_in_is_shown(browser: Browser) -> None:
    """Who was logged out meanwhile finds what was written, to be copied."""
    browser.get("/")
    form = browser.form("/buckets").values | {"id": "my-new-bucket"}
    browser.client.cookies.clear()
    browser.page = browser.client.post("/buckets", data=form)
    assert browser.page.status_code == 401
    assert "not logged in any more" in browser.said
    assert "my-new-bucket" in browser.said
    assert form["csrf"] not in browser.text


def test_logging_out(browser: Browser) -> None:
    """The credentials are forgotten, and the old cookie serves no more."""
    browser.get("/")
    old = browser.client.cookies["kinto-orm-9000"]
    browser.send("/logout")
    assert "logged out" in browser.said
    browser.client.cookies.clear()
    browser.client.cookies["kinto-orm-9000"] = old
    browser.get("/")
    assert str(browser.page.url).startswith(f"{HERE}/login")


def test_credentials_are_nowhere(
    opening: Callable[..., Browser], session: Session, at: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in a page, an address or a log; nor in an error, nor in the repr of the application."""
    caplog.set_level(logging.DEBUG)
    browser = opening()
    seen = [repr(vars(browser.client.app))]  # type: ignore[arg-type]
    browser.log_in()
    for path in ["/", at, f"{at}/new", f"{at}/permissions", "/buckets/no", "/nothing"]:
        answer = browser.client.get(path)
        seen += [answer.text, str(answer.url), repr(answer.headers)]
    seen += [record.getMessage() for record in caplog.records]
    assert USER[1] not in "".join(seen)


def test_a_form_too_large(browser: Browser, at: str) -> None:
    """It is refused before it is read to its end."""
    answer = browser.client.post(f"{at}/new", content=b"a=" + b"x" * (17 * 2**20))
    assert answer.status_code == 413


def test_what_is_not_read(opening: Callable[..., Browser], at: str) -> None:
    """Of somebody who is not logged in little is taken."""
    large = b"a=" + b"x" * 2**17
    browser = opening()
    for path in ("/login", f"{at}/new"):
        browser.page = browser.client.post(path, content=large)
        assert browser.page.status_code == 413
        assert "64 KB" in browser.said
    browser.log_in()
    assert browser.client.post(f"{at}/new", content=large).status_code == 403


@pytest.mark.parametrize("body", [b"\xff\xfe", b"a=%FF", b"a=1&" * 6000])
def test_what_is_no_form(browser: Browser, at: str, body: bytes) -> None:
    """It is refused with a page."""
    browser.page = browser.client.post(f"{at}/new", content=body)
    assert browser.page.status_code == 400
    assert "no form" in browser.said


def test_credentials_for_everybody(
    opening: Callable[..., Browser], kinto: str, session: Session, at: str
) -> None:
    """With auth= everybody acts as that user, and nobody is asked; in a URL they are the same."""
    record("a", n=1)
    user, password = USER
    for options in [
        {"auth": USER},
        {"auth": f"{user}:{password}"},
        {"server_url": kinto.replace("//", f"//{user}:{password}@")},
    ]:
        browser = opening(**options)
        browser.get(f"{at}/records/a")
        assert password not in browser.text
        assert "Log out" not in browser.said
        browser.send(f"{at}/records/a", **{"value:n": "1"})


def test_the_environment(
    monkeypatch: pytest.MonkeyPatch, opening: Callable[..., Browser], kinto: str
) -> None:
    """Without a URL the variables say which server, and as whom."""
    monkeypatch.setenv("KINTO_ORM_SERVER", kinto)
    monkeypatch.setenv("KINTO_ORM_AUTH", "tom:s3cret-p4ss")
    browser = opening(None)
    browser.get("/")
    assert "Buckets" in browser.said


def test_beginning_with_a_bucket(opening: Callable[..., Browser], session: Session) -> None:
    """A named bucket is what is shown first."""
    browser = opening(auth=USER, bucket=session.bucket)
    browser.get("/")
    assert browser.page.url.path == f"/buckets/{session.bucket}"
    browser.get("/?all=1")
    assert browser.page.url.path == "/"


def test_an_embedded_server_is_one_for_all(opening: Callable[..., Browser]) -> None:
    """What one browser stores another one sees, and it stays when the first one logs out."""
    browser = opening("memory://").log_in("ada", "x")
    browser.get("/")
    browser.send("/buckets", id="kept")
    browser.get("/")
    browser.send("/logout")
    browser.log_in("ada", "x").get("/")
    assert "kept" in browser.said


def test_what_cannot_be_served() -> None:
    """A wrong URL, a kvp.io server, and one user for a whole network are refused at once."""
    with pytest.raises(ConfigurationError, match="v1"):
        app("http://127.0.0.1:1")
    with pytest.raises(Unsupported, match=r"kvp\.io"):
        app("kvp+http://127.0.0.1:1")
    with pytest.raises(ConfigurationError, match="everyone who reaches 0"):
        run("http://127.0.0.1:1/v1", host="0.0.0.0", auth="a:b")


def test_everybody_needs_no_login(
    opening: Callable[..., Browser], session: Session, at: str
) -> None:
    """A cookie that is lost costs a form, and no page asks for a password; logging out is none."""
    record("a", n=1)
    browser = opening(auth=USER)
    browser.get(f"{at}/records/a")
    form = browser.form(f"{at}/records/a").values | {"value:n": "2"}
    browser.client.cookies.clear()
    for _ in range(2):
        browser.page = browser.client.post(f"{at}/records/a", data=form)
        assert browser.page.status_code == 403
        assert "too old" in browser.said
        assert "Password" not in browser.said
    browser.get("/")
    token = browser.form("/buckets").values["csrf"]
    browser.page = browser.client.post("/logout", data={"csrf": token})
    assert "nothing to log out of" in browser.said
    assert "forgotten" not in browser.said


def test_only_reading_makes_no_personal_bucket(opening: Callable[..., Browser], kinto: str) -> None:
    """Whoever asks for it at the server makes it."""
    with Session(kinto, auth=("reader", "x")) as session:
        id = session.resolve_bucket("default")
        for bucket in (None, "default"):
            browser = opening(read_only=True, bucket=bucket)
            browser.get("/login")
            browser.send("/login", 403 if bucket else 200, user="reader", password="x")
            for path in ("/", "/buckets/default", "/buckets/default/collections/c?q=a%3D1"):
                answer = browser.client.get(path)
                assert answer.status_code in (200, 403, 404)
                assert "/default" not in answer.url.path
        with pytest.raises(KintoError):
            Bucket.get(id, session=session)
        browser = opening(read_only=True).log_in("reader", "x")
        Bucket(id=id).save(session=session)
        browser.get("/buckets/default/keys?prefix=a")
        assert str(browser.page.url).endswith(f"/buckets/{id}/keys?prefix=a")


async def test_one_visitor_takes_one_turn_at_a_time(kinto: str) -> None:
    """Others are not kept waiting by that."""
    site = Site(kinto, auth=None, bucket=None, read_only=False, hosts=(), idle=60)
    one, other = site.open(None), site.open(None)
    async with site.turn(one):
        assert site.turn(one).locked()
        assert not site.turn(other).locked()
    assert not site.turn(one).locked()
    for each in (one, other):
        await each.close()
    await site.close()
