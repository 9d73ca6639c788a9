"""What is kept from an application while an embedded Kinto is made, and given back to it."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from kinto_orm.errors import ConfigurationError
from kinto_orm.server.quiet import extra, hushed


@pytest.mark.parametrize("making", [extra, hushed])
def test_the_collector_rests_meanwhile(making: Callable[[], AbstractContextManager[None]]) -> None:
    """And goes on afterwards, also after an error; where it was off, it stays off."""
    with making():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ConfigurationError), extra(), making():
        raise ImportError("no Kinto")
    assert gc.isenabled()
    gc.disable()
    try:
        with making():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize("making", [extra, hushed])
def test_what_was_made_is_old_at_once(making: Callable[[], AbstractContextManager[None]]) -> None:
    """No collection goes through all of it right after: that would be as slow as it was before."""
    with making():
        made = [[] for _ in range(1000)]
    young = {id(each) for generation in (0, 1) for each in gc.get_objects(generation)}
    assert not young.intersection(map(id, made))
    assert gc.get_freeze_count() == 0


def test_what_a_program_froze_stays_frozen() -> None:
    """As programs do that fork workers: what is thawed would be copied into each of them."""
    gc.freeze()
    try:
        with extra():
            pass
        assert gc.get_freeze_count()
    finally:
        gc.unfreeze()


def test_a_child_that_is_forked_meanwhile_collects_again() -> None:
    """The thread that would have let it go on is not there."""
    with extra():
        child = os.fork()
        if not child:
            os._exit(0 if gc.isenabled() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
