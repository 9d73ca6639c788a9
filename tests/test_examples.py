"""The examples that do public jobs anew: what they write, and what they leave alone."""

from __future__ import annotations

import importlib.util
import io
import itertools
import json
import os
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from faults import FaultyServer, at_write, meanwhile, passed_on
from kinto_orm import Authenticated, Bucket, Collection, Everyone, Group, NotFound, Record, Session
from kinto_orm.server import open_memory, serve

EXAMPLES = Path(__file__).parents[1] / "examples"
SIGNED = {
    "to_review_enabled": True,
    "resources": [
        {"source": {"bucket": "preview", "collection": None}},
        {"source": {"bucket": "preview", "collection": "quick"}, "to_review_enabled": False},
    ],
}


def includeme(config: Any) -> None:
    """Say what a server says that signs collections: this module is a plugin of the one below."""
    config.add_api_capability("signer", description="Signs.", url="", **SIGNED)


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with open_memory(settings={"kinto.includes": __name__}) as embedded, serve(embedded) as served:
        yield served.url


@pytest.fixture
def wire(upstream: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    """The server that the examples are told of; it writes down what they send."""
    with FaultyServer(upstream=upstream) as proxy, Session(upstream, auth="ann:s3cret") as session:
        monkeypatch.setenv("KINTO_ORM_SERVER", proxy.url)
        monkeypatch.setenv("KINTO_ORM_AUTH", "ann:s3cret")
        yield proxy
        for each in Bucket.find(session=session):
            each.delete()


def writes(wire: FaultyServer) -> list[tuple[str, str, dict[str, str]]]:
    """Method, path and headers of each write since this was asked, those in batches one by one."""
    sent = []
    for each in wire.received:
        asked = each.json["requests"] if each.method == "POST" else [vars(each)]
        for one in asked:
            path = one.get("path") or one["target"]
            sent.append((one["method"], path.removeprefix("/v1"), one.get("headers") or {}))
    wire.received.clear()
    return [each for each in sent if each[0] != "GET"]


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stored(session: Session, bucket: str, collection: str) -> dict[str, dict[str, Any]]:
    """The records of a collection, without what the server makes."""
    found = session.scoped(bucket=bucket, collection=collection).find(Record)
    made = {"id", "last_modified", "schema"}
    return {
        each.id: {
            name: value for name, value in each.model_dump(mode="json").items() if name not in made
        }
        for each in found
    }


def guarded(sent: list[tuple[str, str, dict[str, str]]]) -> bool:
    """Whether each write of a record has a precondition."""
    return all(
        {"If-Match", "If-None-Match"} & headers.keys()
        for _, path, headers in sent
        if "/records/" in path
    )


# A collection equal to a file


@pytest.fixture
def domains(wire: FaultyServer) -> Session:
    session = Session(wire.url, auth="ann:s3cret", bucket="main-workspace")
    Bucket(id="main-workspace").save(session=session)
    for name in ("allow", "deny"):
        Collection(id=name, status="signed", owner="ann").save(session=session)
    return session


def test_a_collection_becomes_equal_to_a_file(
    domains: Session, wire: FaultyServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Created, updated, deleted, and a review asked for where something changed; then nothing."""
    main = example("sync_domains").main
    scope = domains.scoped(collection="allow")
    scope.save(Record(id="a-org", domain="wrong", more=1), Record(id="old-org", domain="old.org"))
    (tmp_path / "allow").write_text("b.org\na.org\n\nb.org\n")
    (tmp_path / "deny").write_text("")
    lists = [f"allow={tmp_path}/allow", f"deny={tmp_path}/deny"]
    wire.received.clear()

    assert main(["--dry-run", *lists]) == 0
    assert writes(wire) == []
    said = capsys.readouterr().out
    assert "  ~ a-org: domain, more\n  + b-org\n  - old-org\n" in said
    assert "Logged in as basicauth:" in said

    assert main(lists) == 0
    sent = writes(wire)
    assert guarded(sent)
    assert len(sent) == 4
    assert stored(domains, "main-workspace", "allow") == {
        "a-org": {"domain": "a.org"},
        "b-org": {"domain": "b.org"},
    }
    allow, deny = (Collection.get(each, session=domains) for each in ("allow", "deny"))
    assert (allow["status"], allow["owner"], deny["status"]) == ("to-review", "ann", "signed")
    wire.received.clear()
    assert main(lists) == 0
    assert writes(wire) == []

    (tmp_path / "allow").write_text("b.org\n")
    assert main(["--approve", *lists]) == 0
    assert Collection.get("allow", session=domains)["status"] == "to-sign"


def test_domains_that_fail_are_reported(
    domains: Session, wire: FaultyServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Then nothing is deleted, and no review is asked for."""
    domains.scoped(collection="allow").save(Record(id="old-org", domain="old.org"))
    (tmp_path / "allow").write_text("a.org\nno domain\n")
    assert example("sync_domains").main([f"allow={tmp_path}/allow"]) == 1
    assert "no domain: " in capsys.readouterr().err
    assert sorted(stored(domains, "main-workspace", "allow")) == ["a-org", "old-org"]
    assert Collection.get("allow", session=domains)["status"] == "signed"


# A copy with a filter


@pytest.fixture
def articles(wire: FaultyServer) -> Session:
    session = Session(wire.url, auth="ann:s3cret")
    for bucket, names in {
        "main": ["articles"],
        "preview": ["articles", "quick"],
        "x": ["y"],
    }.items():
        Bucket(id=bucket).save(session=session)
        for name in names:
            Collection(id=name).save(session=session.scoped(bucket=bucket))
    main = session.scoped(bucket="main", collection="articles")
    main.save(*(Record(id=f"a{n}", lang="fr", stars=n, more={"n": [n]}) for n in range(4)))
    main.save(Record(id="de", lang="de", stars=5))
    return session


RULE = "main/articles?lang=fr&stars>=2 -> preview/articles"
COPIED = {f"a{n}": {"lang": "fr", "stars": n, "more": {"n": [n]}} for n in (2, 3)}


def test_what_meets_the_conditions_is_copied(
    articles: Session, wire: FaultyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of it, and nothing else is there afterwards; a second run writes nothing."""
    main = example("copy_records").main
    there = articles.scoped(bucket="preview", collection="articles")
    there.save(Record(id="a2", lang="fr", own=1), Record(id="old", lang="fr"))
    wire.received.clear()
    assert main(["--dry-run", RULE]) == 0
    assert writes(wire) == []
    assert "  ~ a2: stars, more, own\n  + a3\n  - old\n" in capsys.readouterr().out
    assert main([RULE]) == 0
    sent = writes(wire)
    assert guarded(sent)
    assert len(sent) == 4  # and the collection's status
    assert stored(articles, "preview", "articles") == COPIED
    assert len(stored(articles, "main", "articles")) == 5
    collection = Collection.get("articles", session=there)
    assert collection["status"] == "to-review"
    collection["status"] = "signed"  # as the reviewer's server does
    collection.save()
    wire.received.clear()
    assert main([RULE]) == 0
    assert writes(wire) == []


def test_by_several_rules_and_where_nothing_is_signed(
    articles: Session, wire: FaultyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """A collection that is approved without a review, and one that nobody signs."""
    rules = ["main/articles -> x/y", "main/articles?lang!=fr -> preview/quick"]
    assert example("copy_records").main(rules) == 0
    assert "quick: to-sign" in capsys.readouterr().out
    assert len(stored(articles, "x", "y")) == 5
    assert stored(articles, "preview", "quick") == {"de": {"lang": "de", "stars": 5}}
    wire.received.clear()
    assert example("copy_records").main(rules[:1]) == 0
    assert writes(wire) == []


def test_copying_to_another_server(articles: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """As somebody else there."""
    with open_memory() as embedded, serve(embedded) as other:
        monkeypatch.setenv("KINTO_ORM_TO_AUTH", "bob:s3cret")
        with Session(other.url, auth="bob:s3cret", bucket="main") as there:
            Bucket(id="main").save().collections.new(id="articles").save()
            same = "main/articles?stars<3 -> main/articles"
            assert example("copy_records").main(["--to", other.url, same]) == 0
            assert sorted(stored(there, "main", "articles")) == ["a0", "a1", "a2"]


def test_somebody_writes_meanwhile(
    articles: Session, wire: FaultyServer, upstream: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What they wrote stays, and the conflict is reported; the rest is copied."""
    there = articles.scoped(bucket="preview", collection="articles")
    there.save(Record(id="a2", lang="it"))

    def act() -> None:
        with Session(upstream, auth="ann:s3cret", bucket="preview", collection="articles") as other:
            theirs = other.get(Record, "a2")
            theirs["lang"] = "es"
            theirs.save()

    wire.answers.append(at_write(meanwhile(passed_on, act)))
    assert example("copy_records").main([RULE]) == 1
    assert "a2: " in capsys.readouterr().err
    assert there.get(Record, "a2")["lang"] == "es"
    assert there.get(Record, "a3")["stars"] == 3


@pytest.mark.parametrize("rule", ["main/articles", "main/articles?lang=fr -> main/articles"])
def test_rules_that_are_none(articles: Session, rule: str) -> None:
    """They are refused, and so is a collection that would be copied to itself."""
    with pytest.raises(SystemExit, match="is no rule"):
        example("copy_records").main([rule])
    assert len(stored(articles, "main", "articles")) == 5


# A tree


TREE = """
buckets:
  blog:
    data: {description: Ours}
    permissions: {read: [system.Everyone], "collection:create": [ann]}
    groups:
      writers: {data: {members: [ann, bob]}, permissions: {write: [carl]}}
    collections:
      posts:
        data: {sort: -date}
        permissions: {"record:create": [/buckets/blog/groups/writers]}
        records:
          first: {data: {title: One, n: 1}, permissions: {read: [dora, emil]}}
          second: {data: {title: Two}}
      empty:
  wiki: {}
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    path = tmp_path / "tree.yaml"
    path.write_text(TREE)
    return path


def test_a_tree_is_loaded(
    wire: FaultyServer, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dry run names all of it, a run makes it, and another run writes nothing."""
    main = example("load_tree").main
    assert main(["--dry-run", str(tree)]) == 0
    assert writes(wire) == []
    said = capsys.readouterr().out
    assert said.count("  + ") == 7
    assert main([str(tree)]) == 0
    assert len(writes(wire)) == 7
    with Session(wire.url, auth="ann:s3cret", bucket="blog") as session:
        bucket, posts = Bucket.get("blog"), Collection.get("posts")
        assert (bucket["description"], bucket.permissions.read) == ("Ours", {Everyone})
        assert bucket.permissions.collection_create == {"ann"}
        assert (posts["sort"], posts.permissions.record_create) == (
            "-date",
            {"/buckets/blog/groups/writers"},
        )
        writers = Group.get("writers")
        assert writers.members == ["ann", "bob"]
        assert {"carl", session.server_info().user["id"]} == writers.permissions.write
        first = session.scoped(collection="posts").get(Record, "first")
        assert (first["title"], first.permissions.read) == ("One", {"dora", "emil"})
        wire.received.clear()
        assert main([str(tree)]) == 0
        assert writes(wire) == []


def test_a_tree_that_changed(wire: FaultyServer, tree: Path) -> None:
    """What the file names becomes so, and what it does not name stays: fields and principals."""
    main = example("load_tree").main
    main([str(tree)])
    with Session(wire.url, auth="ann:s3cret", bucket="blog") as session:
        posts = session.scoped(collection="posts")
        first, collection = posts.get(Record, "first"), Collection.get("posts")
        first["own"] = 1
        first.save()
        first.permissions.grant("write", "fred").save()
        collection["status"] = "signed"
        collection.permissions.grant("read", Authenticated)
        collection.save()
        posts.save(Record(id="third", title="Three"))
        changed = TREE.replace("title: One", "title: Eins").replace("dora, emil", "emil")
        tree.write_text(changed.replace("-date", "date"))
        wire.received.clear()
        assert main(["--dry-run", "--delete-records", str(tree)]) == 0
        assert writes(wire) == []
        assert main([str(tree)]) == 0
        assert sorted(path for _, path, _ in writes(wire)) == [
            "/buckets/blog/collections/posts",
            "/buckets/blog/collections/posts/records/first",
        ]
        first, collection = posts.get(Record, "first"), Collection.get("posts")
        assert (first["title"], first["own"], first.permissions.read) == ("Eins", 1, {"emil"})
        assert "fred" in first.permissions.write
        assert (collection["sort"], collection["status"]) == ("date", "signed")
        assert collection.permissions.read == {Authenticated}
        assert posts.get(Record, "third")
        assert main(["--delete-records", "--bucket", "blog", str(tree)]) == 0
        with pytest.raises(NotFound):
            posts.get(Record, "third")


def test_a_tree_that_fails(
    wire: FaultyServer, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is not well formed is refused before a write; what the server refuses is reported."""
    main = example("load_tree").main
    tree.write_text(TREE.replace("members: [ann, bob]", "members: 5"))
    with pytest.raises(ValueError, match="members"):
        main([str(tree)])
    assert writes(wire) == []
    schema = json.dumps({"properties": {"title": {"type": "string"}}})
    tree.write_text(TREE.replace("sort: -date", f"schema: {schema}").replace("Two", "2"))
    assert main([str(tree)]) == 1
    assert "Record second: " in capsys.readouterr().err
    with Session(wire.url, auth="ann:s3cret", bucket="blog", collection="posts") as session:
        assert [each.id for each in session.find(Record)] == ["first"]
        tree.write_text(TREE.replace("sort: -date", f"schema: {schema}"))
        assert main([str(tree)]) == 0
        wire.received.clear()
        assert main([str(tree)]) == 0
        assert writes(wire) == []


# What the documentation says of them


@pytest.mark.parametrize("name", ["sync_domains", "copy_records", "load_tree"])
def test_the_page_counts_their_lines(name: str) -> None:
    """Lines with code, and less than half of those of the public program."""
    page = (EXAMPLES.parent / "docs" / "examples.md").read_text()
    row = next(line for line in page.splitlines() if f"`{name}.py`" in line and "|" in line)
    _, _, _, ours, _, theirs, _ = row.split("|")
    assert int(ours) == len(code_lines((EXAMPLES / f"{name}.py").read_text()))
    assert 2 * int(ours) < int(theirs)


def code_lines(source: str) -> set[int]:
    """The numbers of the lines that are no blank ones, comments or docstrings."""
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    return {
        line
        for before, token in itertools.pairwise(tokens)
        if token.type not in layout | {tokenize.ENDMARKER}
        and not (token.type == tokenize.STRING and before.type in layout)
        for line in range(token.start[0], token.end[0] + 1)
    }


# The service's own tests


def test_the_service_is_tested_by_its_own_suite() -> None:
    """As a project of its own would run it, with no warning."""
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:asyncio"]
    done = subprocess.run(
        [
            *command,
            "-p",
            "no:cacheprovider",
            "-c",
            os.devnull,
            "--rootdir",
            str(EXAMPLES),
            "-n",
            "2",
            str(EXAMPLES),
        ],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(EXAMPLES), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert re.search(r"^6 passed", done.stdout, re.MULTILINE), done.stdout + done.stderr
