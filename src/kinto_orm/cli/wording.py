"""Errors of the library in the words of the command line: what to type, and no Python.

The library's messages end with what a program writes. Here such a sentence is left out, and what
is said instead stands in one table, by the kind of the error.
"""

from __future__ import annotations

import re
from itertools import takewhile

from kinto_orm import (
    CollectionReset,
    ConfigurationError,
    Conflict,
    Forbidden,
    InvalidData,
    KeyNotFound,
    KintoError,
    NotFound,
    NotLoaded,
    PathError,
    ResponseError,
    ServerError,
    TransportError,
    Unauthorized,
    Unsupported,
)

ADVICE: dict[type[KintoError], str] = {
    Conflict: "Look what is there now with kinto-orm get or history, and run the command again; "
    "--force overwrites it, in the commands that have it",
    Unauthorized: "Say who you are with --auth USER, or let kinto-orm login keep it",
    Forbidden: "kinto-orm account says who you are, kinto-orm perms TARGET who may do what",
    NotFound: "kinto-orm ls shows what is there",
    KeyNotFound: "kinto-orm kv list shows the keys that are there",
    Unsupported: "kinto-orm info says what the server can do",
    InvalidData: "kinto-orm get TARGET prints what is stored, kinto-orm COMMAND --help what the "
    "command takes",
    ServerError: "Run the command again in a moment; kinto-orm doctor looks at the server",
    TransportError: "kinto-orm doctor looks at the server and the way to it",
    CollectionReset: "Begin anew, without --since",
    PathError: "kinto-orm kv set PATH '[]' stores a list, and '{}' an object",
    NotLoaded: "kinto-orm get TARGET --permissions prints all of it",
    ConfigurationError: "kinto-orm COMMAND --help says what the command takes",
    KintoError: "kinto-orm COMMAND --help says what the command takes",
}
"""What to do at a terminal, by the kind of an error; what is not here is as its base class."""

# What has a form of its own here. What a pattern finds is put into the words behind it.
_INSTEAD: tuple[tuple[str, str], ...] = (
    (
        r"The collection '([^']+)' of bucket '([^']+)' does not exist: .* first\.",
        r"The collection '\1' of bucket '\2' does not exist: make it with "
        r"kinto-orm put /buckets/\2/collections/\1 '{}'",
    ),
    (
        r"(?:call session\.sync_schema\(\w*\), or )?save Bucket\(id='([^']+)'\) first",
        r"make it with kinto-orm put /buckets/\1 '{}'",
    ),
    (r"\b(\w+)\.find\((?:[^()]|\([^()]*\))*\)", r"objects (\1)"),
    (r" \(\w+: _\w+\(host=[^)]*\): [^)]*\] ([^)]*)\)", r" (\1)"),
    (r"[;:,] check the session's auth\b", ""),
)

PYTHON = re.compile(
    r"""
      \b[A-Za-z_][\w.]*\((?!s\))          # a call, and no plural(s)
    | \b\w+=(?:True|False|None|\.\.\.)    # an argument
    | \b(?:auth|retry|existing|session)=
    | \bkv\[ | \bnot\ None\b
    | \bSession\b | \bsession\.\w | \bon_invalid\b | \blambda\b | \bawait\b | \bPydantic\b
    | \bvalidation_alias\b | \bplain\ Record\b
    """,
    re.VERBOSE,
)
"""What only a program can write."""

_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_SENTENCES = re.compile(r"(?<=[.?!])\s+(?=[A-Z`<])")
_CLAUSES = re.compile(r"(?<=[;:,]) ")


def has_python(text: str) -> bool:
    """Whether a text has what only a program can write, but for what it quotes."""
    return PYTHON.search(_QUOTED.sub("''", text)) is not None


def said_of(error: BaseException) -> str:
    """What somebody at a terminal is told of an error."""
    told = str(error)
    for pattern, instead in _INSTEAD:
        told = re.sub(pattern, instead, told)
    if not isinstance(error, KintoError) or _is_own(error):
        return told
    kept = " ".join(filter(None, map(_without_python, _SENTENCES.split(told))))
    if (kept == told and not _wants_advice(error)) or "kinto-orm " in kept:
        return kept
    end = "" if kept.endswith((".", "?", "!")) or not kept else "."
    return f"{kept}{end} {advice_for(error)}.".lstrip()


def _wants_advice(error: KintoError) -> bool:
    """Whether it is no matter of the one command, so that its message does not say enough."""
    is_refused = isinstance(error, ResponseError) and error.status is not None
    return isinstance(error, TransportError) or (is_refused and not isinstance(error, InvalidData))


def _is_own(error: KintoError) -> bool:
    """Whether the command line itself raised it, in its own words."""
    return type(error).__module__.startswith("kinto_orm.cli.")


def advice_for(error: KintoError) -> str:
    """What to do about it at a terminal."""
    return next(ADVICE[cls] for cls in type(error).__mro__ if cls in ADVICE)


def _without_python(sentence: str) -> str:
    """A sentence without the clauses that only a program can follow; empty when none is left."""
    if sentence.startswith("The server said") or not has_python(sentence):
        return sentence
    # What is named like a call, and is no more than a word, may still be said.
    return _begun(sentence) or _begun(sentence.replace("()", ""))


def _begun(sentence: str) -> str:
    """A sentence up to where it has Python: what comes behind it is about the same."""
    clauses = takewhile(lambda clause: not has_python(clause), _CLAUSES.split(sentence))
    text = " ".join(clauses).rstrip(" ;:,.")
    return f"{text}." if text else ""
