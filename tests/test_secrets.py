"""Values of secret fields are nowhere to be seen: one mark in all of them, and every surface.

What is sent and what the program asks for has them; what is shown has not.
"""

from __future__ import annotations

import io
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import unquote

import pytest
from pydantic import (
    AliasChoices,
    BaseModel,
    Field,
    PlainSerializer,
    SecretBytes,
    SecretStr,
    ValidationError,
    field_validator,
)
from rich.console import Console

from both import AnySession, Place, do, either, entered, in_a_bucket, told_kind
from faults import Exchange, FaultyServer, cut_off, hangs_up, replied
from feeding import nowhere, requests_of, root
from kinto_orm import (
    AsyncSession,
    BatchError,
    Bucket,
    Collection,
    ConfigurationError,
    Conflict,
    InvalidData,
    KintoError,
    Link,
    MultipleFound,
    NotFound,
    Query,
    Record,
    Reply,
    Retry,
    Session,
    any_of,
    col,
    field,
)
from kinto_orm.models.veiling import veil_of

session = either

MARK = "m4rk3d"
NUMBER = 7734221190
ONCE = Retry(0)

Token = Annotated[
    SecretStr, PlainSerializer(lambda each: each.get_secret_value(), when_used="json")
]
Raw = Annotated[
    SecretBytes, PlainSerializer(lambda each: each.get_secret_value().decode(), when_used="json")
]


class Card(BaseModel):
    city: str = ""
    pin: str = Field(default="", repr=False)
    code: Token | None = None


class Author(Record, collection="authors"):
    name: str = ""


@dataclass
class Key:
    token: Token


class Login(Record, collection="logins"):
    name: str = ""
    hidden: str = Field(default="", repr=False)
    aliased: str = Field(default="", alias="api-key", repr=False)
    renamed: str = Field(
        default="",
        validation_alias=AliasChoices("new", "old"),
        serialization_alias="new",
        repr=False,
    )
    number: int = Field(default=0, repr=False)
    token: Token | None = None
    raw: Raw | None = None
    tokens: list[Token] = []
    by_name: dict[str, Token] = {}
    card: Card | None = None
    key: Key | None = None
    author: Link[Author] | None = Field(default=None, repr=False)
    wallet: dict[str, str] = Field(default={}, repr=False)


def marked(id: str = "x", **fields: Any) -> Login:
    """A login with the mark in each of its secret fields."""
    values: dict[str, Any] = {
        "name": "Ada",
        "hidden": f"{MARK} hidden",
        "api-key": f"{MARK}-aliased",
        "new": f"{MARK}-renamed",
        "number": NUMBER,
        "token": f"{MARK}-token",
        "raw": f"{MARK}-raw".encode(),
        "tokens": [f"{MARK}-a", f"{MARK}-b"],
        "by_name": {"a": f"{MARK}-by-name"},
        "card": {"city": "Lyon", "pin": f"{MARK}-pin", "code": f"{MARK}-code"},
        "key": {"token": f"{MARK}-key"},
        "author": "ada",
        "wallet": {f"{MARK}-name": f"{MARK}-wallet"},
    }
    return Login(id=id, **(values | fields))


# What is seen


def seen(what: Any) -> Iterator[str]:
    """All that is shown of anything, also of what is inside of it."""
    yield from (repr(what), str(what), f"{what}")
    if hasattr(what, "_repr_html_"):
        yield what._repr_html_()
    if hasattr(what, "explain"):
        yield str(what.explain())
    screen = io.StringIO()
    Console(file=screen, width=1000).print(what)
    yield screen.getvalue()
    if isinstance(what, BaseException):
        yield from traceback.format_exception(what)
        yield from map(str, getattr(what, "__notes__", ()))
        yield from (repr(each) for each in (what.args, getattr(what, "request", None)))
        yield str(getattr(getattr(what, "request", None), "target", ""))
        for each in (what.__cause__, *getattr(what, "exceptions", ())):
            yield from seen(each) if each is not None else ()
    if isinstance(what, list | tuple):
        for each in what:
            yield from seen(each)


def check_hidden(*whats: Any) -> None:
    """None of these shows a mark."""
    for what in whats:
        for text in seen(what):
            assert MARK not in text, text
            assert str(NUMBER) not in text, text


class Watch:
    """Takes all that is told of requests, and all that is logged."""

    def __init__(self, log: pytest.LogCaptureFixture) -> None:
        self.events: list[Any] = []
        self.log = log
        log.set_level(logging.DEBUG)

    def check(self) -> None:
        """Something was told, and no mark."""
        assert self.events
        check_hidden(self.events, self.log.text, *(str(each) for each in self.events))


@pytest.fixture
def watch(caplog: pytest.LogCaptureFixture) -> Watch:
    return Watch(caplog)


# Conditions


def _either(value: Any) -> list[Callable[[Any], Any]]:
    return [
        lambda c: c == value,
        lambda c: c != value,
        lambda c: c.in_([value, value]),
        lambda c: c.not_in([value]),
        lambda c: c.exists(),
        lambda c: any_of(c == value, Login.name == "x"),
    ]


def _ordered(value: Any) -> list[Callable[[Any], Any]]:
    return [lambda c: c < value, lambda c: c <= value, lambda c: c > value, lambda c: c >= value]


def _listed(value: Any) -> list[Callable[[Any], Any]]:
    return [lambda c: c.has(value), lambda c: c.has_any([value, value])]


def _text(value: str) -> list[Callable[[Any], Any]]:
    return [*_either(value), *_ordered(value), lambda c: c.like(f"{value}*")]


SECRETS: dict[str, tuple[Callable[[], Any], list[Callable[[Any], Any]]]] = {
    "hidden": (lambda: Login.hidden, _text(f"{MARK} hidden")),
    "number": (lambda: Login.number, [*_either(NUMBER), *_ordered(NUMBER)]),
    "alias": (lambda: Login.aliased, [lambda c: c == f"{MARK}-aliased"]),
    "renamed": (lambda: Login.renamed, _text(f"{MARK}-renamed")),
    "untyped": (lambda: field("hidden"), _text(f"{MARK} hidden")),
    "token": (lambda: Login.token, _either(SecretStr(f"{MARK}-token"))),
    "raw": (lambda: Login.raw, _either(SecretBytes(f"{MARK}-raw".encode()))),
    "tokens": (lambda: Login.tokens, _listed(SecretStr(f"{MARK}-a"))),
    "by_name": (lambda: col(Login.by_name)["a"], _either(SecretStr(f"{MARK}-by-name"))),
    "pin": (lambda: col(Login.card)["pin"], _text(f"{MARK}-pin")),  # type: ignore[arg-type]
    "code": (lambda: col(Login.card)["code"], _either(SecretStr(f"{MARK}-code"))),  # type: ignore[arg-type]
    "card": (lambda: Login.card, _either(Card(pin=f"{MARK}-pin"))[:2]),
    "wallet": (lambda: col(Login.wallet)[f"{MARK}_key"], _text(f"{MARK}-wallet")),
}
CONDITIONS = [
    pytest.param(make, each, id=f"{name}-{at}")
    for name, (make, conditions) in SECRETS.items()
    for at, each in enumerate(conditions)
]


@pytest.mark.parametrize(("make", "condition"), CONDITIONS)
def test_no_query_shows_what_a_secret_field_is_compared_with(make: Any, condition: Any) -> None:
    """Neither itself, nor in a table, nor in what explains it; the request has the value."""
    with nowhere(collection="logins"):
        query = Login.find(condition(make()), Login.name == "Ada")
        check_hidden(query, make(), query.order_by(make()) if "-" not in make().name else query)
        assert "Ada" in repr(query)
        if condition is not SECRETS["hidden"][1][4]:
            sent = query.asked()
            texts = str([each.params for each in sent.filters])
            assert MARK in texts or str(NUMBER) in texts or "has_" in texts
    if "field(" not in repr(make()):
        check_hidden(condition(make()))


@pytest.mark.parametrize(("make", "condition"), CONDITIONS)
def test_no_answer_shows_it(make: Any, condition: Any) -> None:
    """Whatever a server or a gateway repeats of the request, and of the record that it has."""
    with nowhere(collection="logins", retry=ONCE):
        query = Login.find(condition(make()))
        for flow in (lambda: query.opening(), lambda: query.counting(), lambda: query.deleting()):
            for answer in (echo, broken, refusal, odd):
                error = failed(flow(), answer)
                if error is not None:
                    check_hidden(error)


def failed(flow: Any, answer: Callable[[Any], Reply]) -> BaseException | None:
    """The error of a flow whose requests are all answered in the same way."""
    asking = requests_of(flow)
    try:
        step = next(asking)
        while True:
            step = asking.send(answer(step))  # type: ignore[arg-type]
    except StopIteration as end:
        pages = end.value
    except KintoError as error:
        return error
    return failed(pages.fetching(), answer) if hasattr(pages, "fetching") else None


def echo(request: Any) -> Reply:
    """A gateway's page, which repeats the URL and the body."""
    said = f"<p>{request.target} {request.query}</p>{(request.body or b'').decode()}"
    return Reply(500, {"Content-Type": "text/html"}, said.encode())


def broken(request: Any) -> Reply:
    """The beginning of a record."""
    return Reply(200, {}, json.dumps({"data": {"hidden": MARK, "number": NUMBER}}).encode()[:-1])


def odd(request: Any) -> Reply:
    """A record that is none."""
    return Reply(200, {}, json.dumps({"data": [{"hidden": MARK}]}).encode())


def refusal(request: Any) -> Reply:
    """Kinto's own, which repeats what it refuses."""
    said = f"{request.query} {(request.body or b'').decode()} is wrong"
    return Reply(400, {}, json.dumps({"errno": 107, "code": 400, "message": said}).encode())


@pytest.mark.parametrize("make", [each for each, _ in SECRETS.values()], ids=[*SECRETS])
def test_no_refused_value_is_shown(make: Any) -> None:
    """What cannot be compared with a secret field; the message says the field and the type."""

    class Odd:
        def __repr__(self) -> str:
            return MARK

    with nowhere(collection="logins"):
        for value in (
            Odd(),
            [Odd()],
            MARK,
            {MARK: NUMBER},
            f"{MARK}\0",
            NUMBER**9,
            SecretStr(MARK),
        ):
            for act in (
                "__eq__",
                "__lt__",
                "like",
                "has",
                "in_",
                "not_in",
                "has_any",
                "__contains__",
            ):
                try:
                    condition = getattr(make(), act)(value)
                    query = Login.find(condition)
                    check_hidden(query)
                except (InvalidData, TypeError) as error:
                    if "field(" not in repr(make()):
                        check_hidden(error)


def test_what_is_beside_a_secret_is_shown() -> None:
    """A field of an object that has a secret one, too; and whether a secret one is there."""
    with nowhere(collection="logins"):
        city = col(Login.card)["city"] == "Lyon"  # type: ignore[arg-type]
        query = Login.find(city, col(Login.hidden).exists())
        assert "Lyon" in repr(query)
        assert "Lyon" in str(query.explain())
        assert "has_hidden=true" in repr(query)


# What is done with a server


async def test_reading_shows_no_secret(place: Place, watch: Watch) -> None:
    """Objects, pages, changes and the errors of one(); events and the log."""
    async with in_a_bucket(place, on_request=watch.events.append) as session:
        await make_collections(session)
        await do(marked().save)
        await do(marked("y", name="Bob").save)
        asked = Login.find(Login.hidden == f"{MARK} hidden", Login.number == NUMBER)
        found = await do(asked.all)
        assert {each.id for each in found} == {"x", "y"}
        assert found[0].token.get_secret_value() == f"{MARK}-token"
        check_hidden(found, *found, asked, await do(Login.find().changes))
        with pytest.raises(MultipleFound, match="number") as several:
            await do(asked.one)
        nothing = Login.find(Login.hidden == f"{MARK} nobody")
        with pytest.raises(NotFound, match="hidden") as none:
            await do(nothing.one)
        check_hidden(several.value, none.value)
        assert await do(asked.count) == 2
        assert await do(asked.exists)
        assert await do(asked.where(Login.name == "Bob").first)
        pages = await do(asked.order_by(col(Login.hidden).desc()).page_size(1).pages)
        assert [len(each) for each in pages] == [1, 1]
        check_hidden(pages)
        with pytest.raises(InvalidData, match="secret") as refused:
            pages[0].position
        check_hidden(refused.value)
        either_one = any_of(Login.hidden == f"{MARK} hidden", Login.number == NUMBER)
        pages = await do(Login.find(either_one).order_by(Login.number).page_size(1).pages)
        check_hidden(pages, either_one)
        assert [each.id for page in pages for each in page] == ["y", "x"] or len(pages) == 2
        assert await do(asked.delete) == 2
    watch.check()


async def test_writing_shows_no_secret(place: Place, watch: Watch) -> None:
    """Saves, batches, upserts, syncs, patches and their conflicts."""
    async with in_a_bucket(place, on_request=watch.events.append) as session:
        await make_collections(session)
        login = await do(marked().save)
        login.assign(hidden=f"{MARK} newer", token=f"{MARK}-newer", card=Card(pin=f"{MARK}-newer"))
        check_hidden(login, login.diff())
        assert login.diff()["hidden"] == (f"{MARK} hidden", f"{MARK} newer")
        await do(Login.patch, "x", hidden=f"{MARK} other", number=NUMBER + 1)
        with pytest.raises(Conflict) as met:
            await do(login.save)
        check_hidden(met.value, met.value.remote, met.value.base)
        check_hidden(met.value.merge("local"), met.value)
        mine = await do(Login.get, "x")
        await do(Login.patch, "x", wallet={f"{MARK}-name": "theirs"})
        mine.wallet[f"{MARK}-name"] = "mine"
        with pytest.raises(Conflict, match="Contested: wallet") as met:
            await do(mine.save)
        check_hidden(met.value)
        with pytest.raises(Conflict) as met:
            await do(marked().save)
        check_hidden(met.value)
        check_hidden(await do(Login.get_or_create, "x", hidden=MARK))
        batch = session.batch()
        batch.save(marked(), marked("z"))
        with pytest.raises(BatchError) as batched:
            await do(batch.run)
        check_hidden(batched.value, batch.outcomes)
        summary = await do(session.save_all, [marked(), marked("w")])
        check_hidden(summary, summary.failed)
        plan = await do(session.sync, Login, [marked("w", hidden=f"{MARK} synced")], dry_run=True)
        check_hidden(plan, plan.changes)
        changed = await do(Login.find(Login.hidden == f"{MARK} hidden").update, number=NUMBER)
        check_hidden(changed)
    watch.check()


async def test_a_dry_run_shows_no_secret(place: Place, watch: Watch) -> None:
    """What would be sent is told as what is sent."""
    async with in_a_bucket(place) as session:
        await make_collections(session)
        await do(marked().save)
        options: dict[str, Any] = {"dry_run": True, "on_request": watch.events.append}
        async with entered(place.session(bucket=session.bucket, **options)) as dry:
            await do(marked("y").save, session=dry)
            found = Login.find(Login.hidden == f"{MARK} hidden", session=dry)
            assert await do(found.delete) == 1
            async with entered(dry.batch()) as batch:
                batch.save(marked("z"))
    watch.check()


async def test_the_history_shows_no_secret(place: Place, watch: Watch) -> None:
    """Entries are of any class; what was deleted is of one."""
    async with in_a_bucket(place, on_request=watch.events.append) as session:
        await make_collections(session)
        login = await do(marked().save)
        login.hidden = f"{MARK} newer"
        await do(login.save)
        entries = await do((await do(login.history)).all)
        assert entries[0].target["data"]["hidden"] == f"{MARK} newer"
        check_hidden(entries, *entries)
        bucket = await do(Bucket.get, session.bucket)
        everything = await do(bucket.history)
        data = everything.where(
            field("target")["data"]["hidden"] == f"{MARK} newer",
        )
        check_hidden(data, await do(data.all))
        await do(login.delete)
        deleted = await do(Login.deleted)
        assert deleted[0].object.hidden == f"{MARK} newer"
        check_hidden(deleted, *deleted)
        check_hidden(await do(bucket.restore, entries[-1].last_modified, dry_run=True))
        check_hidden(await do(Login.restore, "x"))
    watch.check()


async def make_collections(session: AnySession) -> None:
    """The collections of the models."""
    bucket = Bucket(id=session.bucket)
    for each in ("logins", "authors"):
        await do(bucket.collections.new(id=each).save)


# Records that do not fit


class Strict(Record, collection="strict"):
    name: str = ""
    number: int = Field(default=0, repr=False)
    token: Token | None = None
    checked: str = Field(default="", repr=False)
    card: Card | None = None
    wallet: dict[str, str] = Field(default={}, repr=False)

    @field_validator("checked")
    @classmethod
    def _checked(cls, value: str) -> str:
        if value == "boom":
            raise RuntimeError(f"{MARK} is what {value} is")
        if MARK in value:
            raise ValueError(f"{value} is not what it should be")
        return value


UNFIT = {
    "another type": {"number": MARK},
    "of a validator": {"checked": f"{MARK} value"},
    "inside": {"card": {"pin": [MARK]}},
    "a secret": {"token": [MARK]},
    "a key": {"wallet": {f"{MARK} key": 1}},
    "beside": {"token": f"{MARK}-token", "name": [1]},
}


@pytest.mark.parametrize("data", UNFIT.values(), ids=[*UNFIT])
@pytest.mark.parametrize("only", [False, True], ids=["whole", "only"])
async def test_a_record_that_does_not_fit_shows_no_secret(
    place: Place, data: dict[str, Any], only: bool
) -> None:
    """Neither does the error, nor what is chained to it; on_invalid is given the record."""
    given: list[Any] = []
    async with in_a_bucket(place) as session:
        await do(Bucket(id=session.bucket).collections.new(id="strict").save)
        raw = Collection(id="strict", bucket=session.bucket).records.new(id="x", **data)
        await do(raw.save)
        find = Strict.find().only(*data, "name") if only else Strict.find()
        with pytest.raises(InvalidData) as met:
            await do(find.all)
        check_hidden(met.value)
        assert any(name in str(met.value) for name in data)
        if not only:
            with pytest.raises(InvalidData) as met:
                await do(Strict.get, "x")
            check_hidden(met.value)
        await do(find.on_invalid(lambda raw, error: given.append((raw, error))).all)
    assert MARK in repr(given[0][0])
    check_hidden(given[0][1])


@pytest.mark.parametrize("data", UNFIT.values(), ids=[*UNFIT])
def test_pydantic_hides_what_is_refused(data: dict[str, Any]) -> None:
    """Whoever gives it, the input is not repeated; what a validator says, and keys, are."""
    acts: list[Callable[[], object]] = [
        lambda: Strict(**data),
        lambda: Strict().assign(**data),
        lambda: Strict.patch("x", data),
        lambda: Strict.find().update(data),
    ]
    with nowhere():
        # A validator is asked again with each object.
        for act in acts[:2] if "checked" in data else acts:
            with pytest.raises(ValidationError) as met:
                act()
            assert "input_value" not in str(met.value)
            if data.keys().isdisjoint({"checked", "wallet"}):
                check_hidden(met.value)


def test_a_program_may_choose_to_see_it() -> None:
    """Pydantic's setting is the program's where it is given."""

    class Open(Record, collection="open", hide_input_in_errors=False):
        number: int = Field(default=0, repr=False)

    with pytest.raises(ValidationError, match=MARK):
        Open(number=MARK)  # type: ignore[arg-type]


def test_what_cannot_be_written_shows_no_secret() -> None:
    """Pydantic's complaint about a value of another type has the value."""
    login = marked()
    login.__dict__["hidden"] = [MARK]
    with nowhere(collection="logins"), pytest.raises(InvalidData, match="hidden") as met:
        login.diff()
    check_hidden(met.value)


# What servers, gateways and connections make of it


def echoes(status: int, content_type: str) -> Callable[[Exchange], None]:
    """An answer that repeats all of the request."""

    def answer(exchange: Exchange) -> None:
        sent = exchange.received
        said = f"{sent.target} {unquote(sent.target)} {sent.body.decode()}"
        body = said if "html" in content_type else json.dumps({"errno": 107, "message": said})
        exchange.write(status, body.encode(), {"Content-Type": content_type})

    return answer


def no_http(exchange: Exchange) -> None:
    """Something that is no HTTP, which repeats the request."""
    exchange.wfile.write(f"{exchange.received.target} {MARK}\r\n\r\n".encode())
    exchange.close_connection = True


def starts_a_record(exchange: Exchange) -> None:
    """The beginning of an answer with a record."""
    exchange.write(200, f'{{"data": {{"hidden": "{MARK}", "number": {NUMBER}'.encode(), {})


def but_the_root(answer: Callable[[Exchange], None]) -> Callable[[Exchange], None]:
    """Such an answer, but to who asks what the server can do."""
    return lambda each: (replied(root()) if each.path == "/v1/" else answer)(each)


ANSWERS = {
    "400": echoes(400, "application/json"),
    "500": echoes(500, "text/html"),
    "200": echoes(200, "text/html"),
    "no HTTP": no_http,
    "no JSON": starts_a_record,
    "cut off": cut_off,
    "nothing": hangs_up,
}
ACTS: dict[str, Callable[[Any], Any]] = {
    "all": lambda _: do(asked().all),
    "any_of": lambda _: do(asked().where(any_of(Login.hidden == MARK, Login.name == "x")).all),
    "count": lambda _: do(asked().count),
    "delete": lambda _: do(asked().delete),
    "get": lambda _: do(Login.get, "x"),
    "save": lambda _: do(marked().save),
    "patch": lambda _: do(Login.patch, "x", hidden=f"{MARK} patched", number=NUMBER),
    "batch": lambda session: in_a_batch(session),
    "changes": lambda _: do(Login.find().changes),
}


def asked() -> Query[Login]:
    """A query with a secret, sorted by one."""
    query = Login.find(Login.hidden == f"{MARK} hidden", col(Login.tokens).has(SecretStr(MARK)))
    return query.page_size(1)


async def in_a_batch(session: AnySession) -> None:
    """A save among the requests of a batch."""
    async with entered(session.batch()) as batch:
        batch.save(marked(), marked("y"))


@pytest.mark.parametrize("awaits", [False, True], ids=["blocking", "awaited"])
@pytest.mark.parametrize("act", ACTS.values(), ids=[*ACTS])
async def test_no_failure_shows_a_secret(awaits: bool, act: Any, watch: Watch) -> None:
    """Whatever comes in the place of an answer: errors, events, and all that is logged."""
    kind = AsyncSession if awaits else Session
    options: dict[str, Any] = {"bucket": "b", "auth": "bob:pass", "retry": ONCE}
    with told_kind(awaits=awaits), FaultyServer(hangs_up) as server:
        async with entered(kind(server.url, on_request=watch.events.append, **options)) as session:
            for answer in ANSWERS.values():
                server.answers.clear()
                server.answers.append(but_the_root(answer))
                with pytest.raises((KintoError, ValueError)) as met:
                    await act(session)
                check_hidden(met.value)
    watch.check()
    sent = str(server.received)
    assert MARK in sent or act in (ACTS["get"], ACTS["changes"])


def test_a_secret_link_is_not_named() -> None:
    """Neither where it is looked for, nor where it is saved, although its object is elsewhere."""
    ada = Author(id=MARK)
    with nowhere("home", "authors") as home, nowhere("other", "authors"):
        link: Any = Link.to(ada)
        link.__kinto_reached__(home)
        check_hidden(Login.find(Login.author == ada), Login.find(Login.author == MARK))
        for flow in (Login.find(Login.author == link).opening(), saving(Login(author=link))):
            with pytest.raises(ConfigurationError, match="Author") as met:
                next(flow)
            check_hidden(met.value)


def saving(login: Login) -> Any:
    """The flow of its save in the current session."""
    return login.__kinto_save__(None)


# Positions


def test_a_position_has_no_secret() -> None:
    """It is given to anybody: nothing in it depends on the value, not even a sum of it."""
    identities = set()
    with nowhere(collection="logins"):
        for value in (MARK, "another"):
            query = Login.find(Login.hidden == value, Login.name == "Ada")
            identities.add(tuple(query.asked().told_apart_by("/p")))
        apart = Login.find(Login.hidden == MARK, Login.name == "Bob").asked().told_apart_by("/p")
    assert len(identities) == 1
    assert tuple(apart) not in identities


def test_what_has_no_secret_field_has_no_veil() -> None:
    """So that nothing is looked for."""
    assert veil_of(Author) is None
    with nowhere():
        query = Author.find(Author.name == MARK)
        assert query.asked().veil is None
        assert MARK in repr(query)
