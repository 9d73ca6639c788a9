"""The command line where packages of its extra are missing: it names the extra."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
MODULES = {"pyyaml": "yaml"}
BROUGHT = [
    MODULES.get(name, name)
    for name in (re.split(r"\W", each)[0] for each in PROJECT["optional-dependencies"]["cli"])
]
# As an interpreter is that does not have the package, and has the others.
RUN = """
import sys
sys.modules[sys.argv.pop(1)] = None
from kinto_orm.cli import main
main()
"""


@pytest.mark.parametrize("module", BROUGHT)
def test_a_missing_package_is_named_with_the_extra(module: str) -> None:
    """Many have some of them already, from elsewhere: then the others are missing."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, module, "ls"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    remedy = "pip install 'kinto-orm[cli]'"
    assert done.stderr == f"kinto-orm: the command line needs {module}: {remedy}\n"
