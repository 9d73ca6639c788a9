"""The README, the documentation pages and the demonstration do what they say."""

from __future__ import annotations

import ast
import doctest
import importlib
import logging
import os
import re
import runpy
import struct
import subprocess
import sys
import tempfile
import tomllib
from asyncio import Runner
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack
from contextvars import Context
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import pytest
from docutils.core import publish_doctree
from sybil import Document, Example
from sybil.evaluators.python import PythonEvaluator, pad
from sybil.parsers.myst import PythonCodeBlockParser

import kinto_orm
from kinto_orm import server as servers
from kinto_orm.server import EmbeddedServer, open_memory, serve

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.glob("*.md")])
ON_EACH_BACKEND = DOCS / "coming-from-kinto-client.md"
FROM_KVPIO = DOCS / "coming-from-kvpio.md"
LANGUAGES = {"python", "bash", "ini", "text"}

# What the pages name, and no machine has: a server of one's own, a directory and a file.
SERVER = "https://kinto.example/v1"
STARTED = "http://localhost:8888/v1"
KVPIO = "kvp+https://api.kvp.io"
DIRECTORY = "local:///var/lib/todo"
FILE = "sqlite:///todo.db"

_ENTRY = re.compile(r"^\.\. (?:auto\w+|data):: (\w+)$", re.MULTILINE)
_COMMENT = re.compile(r"<!---.*?--->", re.DOTALL)
_HIDDEN = re.compile(r"^<!--- invisible-code-block: python\n(.*?)--->", re.MULTILINE | re.DOTALL)
_SHOWN = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
_FENCE = re.compile(r"^```(.*)$", re.MULTILINE)


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    """What an example does to the logs ends with it."""
    root, own = logging.getLogger(), logging.getLogger("kinto_orm")
    before = list(root.handlers), root.level, own.level
    yield
    root.handlers[:], level, own_level = before
    root.setLevel(level)
    own.setLevel(own_level)


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[EmbeddedServer, str]]:
    """A Kinto that speaks kvp.io's protocol, too, and its address on this machine."""
    settings = {"kinto.includes": "kinto_orm.server.kvp", "kinto.kvp_api_keys": "123abc"}
    with open_memory(settings=settings) as embedded, serve(embedded) as served:
        yield embedded, served.url


@pytest.fixture(scope="module")
def directory() -> Iterator[str]:
    """A directory that is there for all pages, for opening a new one takes seconds."""
    with tempfile.TemporaryDirectory(prefix="kinto-orm-docs-") as path:
        yield path


@pytest.fixture
def places(
    server: tuple[EmbeddedServer, str],
    directory: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, str]:
    """An empty server, a directory and a file, by the names that the pages have for them.

    What a page writes without saying where goes into an empty directory.
    """
    monkeypatch.chdir(tmp_path)
    embedded, url = server
    embedded.flush()
    kvpio = f"kvp+{url.removesuffix('/v1')}"
    local, file = f"local://{directory}/todo", f"sqlite:///{tmp_path}/todo.db"
    return {SERVER: url, STARTED: url, KVPIO: kvpio, DIRECTORY: local, FILE: file}


def name(page: Path) -> str:
    return page.stem


def run_page(page: Path, places: Mapping[str, str]) -> None:
    """Run all examples of a page, in order and as one module.

    Invisible ones `enter` the `with` block in which those that follow stand, or `await aenter` the
    `async with` block. An `await` may stand outside of functions, as in `python -m asyncio`.
    """
    module = ModuleType(f"page_{page.stem.replace('-', '_')}")
    modules = mock.patch.dict(sys.modules, {module.__name__: module})  # for pickle
    astack = AsyncExitStack()
    with modules, mock.patch.dict(os.environ), ExitStack() as stack, Runner() as runner:
        vars(module).update(enter=stack.enter_context, aenter=astack.enter_async_context)
        for example in parse(page, places, module, runner):
            example.evaluate()
        runner.run(astack.aclose())


class Awaiting(PythonEvaluator):
    """Runs an example in the page's loop, and in one context, when it awaits something."""

    def __init__(self, runner: Runner) -> None:
        super().__init__()
        self.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        self.runner = runner

    def __call__(self, example: Example) -> None:
        source = pad(example.parsed, example.line + example.parsed.line_offset)
        code = compile(source, example.path, "exec", flags=self.flags, dont_inherit=True)
        awaited = eval(code, example.namespace)
        if awaited is not None:
            self.runner.run(awaited)


def parse(
    page: Path, places: Mapping[str, str], module: ModuleType, runner: Runner | None = None
) -> Document:
    text = page.read_text()
    for written, real in places.items():
        text = text.replace(written, real)
    document = Document(text, str(page))
    document.namespace = vars(module)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    for region in PythonCodeBlockParser(doctest_optionflags=flags)(document):
        if runner is not None and isinstance(region.evaluator, PythonEvaluator):
            region.evaluator = Awaiting(runner)
        document.add(region)
    return document


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_examples_run(page: Path, places: dict[str, str]) -> None:
    """Every Python example of a page runs, and shows what the page says it shows."""
    Context().run(run_page, page, places)


def test_examples_for_those_who_come_from_kinto_client_run_on_each_backend(
    backend: Any, places: dict[str, str]
) -> None:
    """The examples of the old client's documentation work on each."""
    run_page(ON_EACH_BACKEND, places | {SERVER: backend.url})


def test_examples_for_those_who_come_from_kvpio_run_on_each_backend(
    backend: Any, places: dict[str, str]
) -> None:
    """kvp.io's examples work on a Kinto, too, on each."""
    run_page(FROM_KVPIO, places | {KVPIO: backend.url})


def test_the_first_example_prints_what_it_says(
    places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The README's first example prints the line below it."""
    next(parse(ROOT / "README.md", places, ModuleType("first")).examples()).evaluate()
    printed = capsys.readouterr().out.strip()
    assert f"This prints `{printed}`." in (ROOT / "README.md").read_text()


_LINK = re.compile(r"!?\[[^]]*\]\(([^)\s]+)\)")
REPOSITORY = "https://forge.example/kinto-orm"
SITE = "https://docs.example/kinto-orm/"


@pytest.mark.parametrize(
    "urls",
    [{}, {"Repository": REPOSITORY}, {"Repository": REPOSITORY, "Documentation": SITE}],
    ids=["nowhere", "repository", "documentation"],
)
def test_links_hold_on_a_package_index(urls: dict[str, str]) -> None:
    """Each is whole, and leads to a file that is there; without an address it is its text."""
    written = (ROOT / "README.md").read_text()
    page = runpy.run_path(str(DOCS / "package_page.py"))["page"](urls)
    targets = _LINK.findall(page)
    assert all(re.match(r"https?://", each) for each in targets)
    assert len(targets) == len(_LINK.findall(written)) or not urls
    for each in targets:
        own = next((base for base in urls.values() if each.startswith(base)), None)
        if own == SITE:
            file = f"docs/{each.removeprefix(SITE).partition('#')[0].removesuffix('.html')}.md"
        elif own == REPOSITORY:
            file = each.removeprefix(REPOSITORY).split("/", 3)[3].partition("#")[0]
        else:
            continue
        assert (ROOT / file).is_file(), each
    assert "[Tutorial](" in page if urls else "Tutorial | All documentation" in page


def test_a_link_to_a_page_has_a_preview(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it says what the page is about, with a picture of the size that is asked for."""
    monkeypatch.setenv("DOCS_URL", SITE)
    describe = runpy.run_path(str(DOCS / "conf.py"))["describe"]
    context: dict[str, str] = {}
    describe(None, "index", "page.html", context, publish_doctree("Title\n=====\n\nWhat it is.\n"))
    said = dict(re.findall(r'<meta \w+="([\w:]+)" content="(.*)">', context["metatags"]))
    assert (said["og:title"], said["description"], said["og:url"]) == (
        "Title",
        "What it is.",
        f"{SITE}index.html",
    )
    picture = (DOCS / said["og:image"].removeprefix(SITE)).read_bytes()
    assert struct.unpack(">II", picture[16:24]) == (1200, 630)
    assert len(picture) < 150_000


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_examples_are_all_recognised(page: Path) -> None:
    """No code block escapes the tests by a language that they do not know."""
    opened = [fence for fence in _FENCE.findall(page.read_text()) if fence]
    assert {fence for fence in opened if not fence.startswith("{")} <= LANGUAGES


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_examples_need_nothing_that_is_not_shown(page: Path) -> None:
    """Whatever a visible example uses is made by one, or the text says what it is."""
    text = page.read_text()
    hidden = "".join(_HIDDEN.findall(text))
    visible = "".join(map(code_of, _SHOWN.findall(_COMMENT.sub("", text))))
    only_hidden = names_in(hidden, made=True) - names_in(visible, made=True)
    missing = only_hidden & names_in(visible, made=False)
    assert {each for each in missing if f" as {each}:" not in text} == set()


def code_of(block: str) -> str:
    """The code of a block, without what it prints."""
    if not block.startswith(">>>"):
        return block
    return "".join(each.source for each in doctest.DocTestParser().get_examples(block))


def names_in(source: str, *, made: bool) -> set[str]:
    """The names that code makes, or those that it uses."""
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    nodes = list(ast.walk(compile(source, "page", "exec", flags=flags)))
    used = {each.id for each in nodes if isinstance(each, ast.Name) and type(each.ctx) is ast.Load}
    if not made:
        return used
    names = [getattr(each, "asname", None) or getattr(each, "name", None) for each in nodes]
    stored = {
        each.id for each in nodes if isinstance(each, ast.Name) and type(each.ctx) is ast.Store
    }
    arguments = {each.arg for each in nodes if isinstance(each, ast.arg)}
    return stored | arguments | {each for each in names if isinstance(each, str)}


@pytest.mark.parametrize(
    "module",
    ["kinto_orm", "kinto_orm.server", "kinto_orm.testing", "kinto_orm.testing.faults"],
)
def test_every_public_name_is_in_the_reference(module: str) -> None:
    """The reference page leaves out nothing that the package offers, and names where it is."""
    text = "".join(each.read_text() for each in DOCS.glob("reference-*.md"))
    parts = text.split(f".. currentmodule:: {module}\n")[1:]
    written = set(
        _ENTRY.findall("".join(each.partition(".. currentmodule::")[0] for each in parts))
    )
    public = set(importlib.import_module(module).__all__) - {"__version__"}
    assert written == public
    table = (DOCS / "reference.md").read_text()
    assert set(re.findall(rf"`~{re.escape(module)}\.(\w+)`", table)) == public


def test_what_the_reference_leaves_out_is_there() -> None:
    """Each name that is left out as the library's own is still one of such a class."""
    left_out = runpy.run_path(str(DOCS / "conf.py"))["NOT_CALLED"]
    classes = {each.__name__: each for name in kinto_orm.__all__ for each in mro_of(name)}
    classes |= {name: getattr(servers, name) for name in servers.__all__}
    for cls, names in left_out.items():
        assert [each for each in names.split() if not hasattr(classes[cls], each)] == []


def mro_of(name: str) -> tuple[type, ...]:
    """A public class and what it is made of."""
    value = getattr(kinto_orm, name)
    return value.__mro__ if isinstance(value, type) else ()


def test_every_error_is_explained() -> None:
    """The page on errors names each error that the library raises."""
    errors = {each for each, value in vars(kinto_orm.errors).items() if is_error(value)}
    assert errors <= set(re.findall(r"\w+", (DOCS / "errors.md").read_text()))


def test_every_extra_is_explained() -> None:
    """Whoever wonders what to install finds each extra on one page."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    rows = re.findall(r"^\| `(\w+)` \|", (DOCS / "extras.md").read_text(), re.MULTILINE)
    assert set(rows) == set(project["optional-dependencies"])


def test_every_question_has_a_short_answer_and_a_link() -> None:
    """An answer is a line or two, and says where the long one is."""
    text = (DOCS / "questions.md").read_text()
    answers = re.findall(r"^\*\*.*\*\*\n((?:[: ] .*\n)+)", text, re.MULTILINE)
    assert len(answers) >= 10
    for answer in answers:
        said, link = answer.splitlines()
        assert len(said) < 200
        assert re.fullmatch(r"  \[.*\]\([\w-]+\.md(#[\w-]+)?\)", link)


def is_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, kinto_orm.KintoError)


def test_the_fixtures_of_the_testing_page_serve_its_tests(tmp_path: Path) -> None:
    """Copied into a test module, the page's fixtures and tests pass."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "testing.md").read_text(), re.DOTALL)
    module = tmp_path / "test_of_the_page.py"
    # The fixtures of the package are there without an import once it is installed.
    fixtures = "from kinto_orm.testing import *\n"
    module.write_text("\n".join([fixtures, *blocks]))
    run = run_python("-m", "pytest", "-q", "-p", "no:cacheprovider", str(module))
    assert run.returncode == 0, run.stdout
    assert re.search(r"[1-9]\d* passed", run.stdout)


def test_the_demonstration_tells_its_story() -> None:
    """`make demo` saves, changes, refuses, merges, shares and deletes."""
    run = run_python("-W", "error", str(ROOT / "examples" / "todo.py"))
    assert run.returncode == 0, run.stderr
    for line in (
        '{"data": {"done": true, "tags": ["urgent"]}}',
        "Nothing had changed, so nothing was sent.",
        "did you mean 'title'?",
        "Refused: Conflict.",
        "Merged: 'Write the annual report', ['urgent', 'today']",
        "Bob reads: 'Write the annual report'",
        "Left on the server: Tombstone(id='report'",
    ):
        assert line in run.stdout


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
