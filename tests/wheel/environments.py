"""The built packages in clean environments: without an extra, with each alone, and with all.

Run by `make wheel`: `environments.py dist build/wheel-test`. There is one environment with the
wheel and what it requires. Each extra has one beside it, into which pip puts what is still missing;
it sees the first one by a path file. So each holds what `pip install 'kinto-orm[extra]'` brings,
and nothing is installed twice. The source distribution has one of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
# Whatever shell this runs in, they must see the installed packages only.
CLEAN = {
    name: text for name, text in os.environ.items() if not name.startswith(("PYTHON", "KINTO"))
}
SERVER = """
import sys
from kinto_orm.server import open_memory, serve
with open_memory() as kinto, serve(kinto) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""


class Environment:
    """An environment of its own, which sees what is in others.

    Args:
        path: Where it is made.
        seen: What it sees beside its own.
    """

    def __init__(self, path: Path, *seen: Environment) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", path], check=True)
        self.python = path / "bin" / "python"
        (self.packages,) = path.glob("lib/python*/site-packages")
        lines = "".join(f"{each.packages}\n" for each in seen)
        (self.packages / "seen.pth").write_text(lines)

    def install(self, *what: str) -> Environment:
        """Let pip put something into it."""
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "--quiet"]
        options = ["--disable-pip-version-check", "--constraint", str(ROOT / "constraints.txt")]
        subprocess.run([*pip, *options, *what], check=True, env=CLEAN)
        return self

    def run(self, *arguments: str) -> str:
        """Run its interpreter outside of the checkout, with warnings as errors."""
        return subprocess.run(
            [self.python, "-W", "error", *arguments],
            cwd=self.packages,
            env=CLEAN,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=300,
        ).stdout


@contextmanager
def serving(environment: Environment) -> Iterator[str]:
    """Run a Kinto for the others; gives its URL."""
    with subprocess.Popen(
        [environment.python, "-c", SERVER],
        env=CLEAN,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate()


def made(wheel: Path, source: Path, directory: Path) -> dict[str, Environment]:
    """Make all environments, by the extras that are in them, two at a time."""

    def alone(extra: str) -> Environment:
        return Environment(directory / extra, base).install(f"{wheel}[{extra}]")

    with ThreadPoolExecutor(2) as pool:
        from_source = pool.submit(
            lambda: Environment(directory / "source").install(str(source)),
        )
        base = Environment(directory / "base").install(str(wheel))
        # The greatest one first, so that none waits for it at the end.
        extras = sorted(EXTRAS, key="server".__ne__)
        found = {"": base, **dict(zip(extras, pool.map(alone, extras), strict=True))}
        seen = [*found.values()]
        found[",".join(extras)] = Environment(directory / "all", *seen[1:], base)
        return {**found, "source": from_source.result()}


def main(dist: Path, directory: Path) -> None:
    """Make them and run in each what is to be run there."""
    (wheel,), (source,) = dist.absolute().glob("*.whl"), dist.absolute().glob("*.tar.gz")
    environments = made(wheel, source, directory.absolute())
    faults = 0
    with serving(environments["server"]) as server:
        for name, environment in environments.items():
            extras = "" if name == "source" else name
            told = json.loads(environment.run(str(HERE / "extras.py"), extras, server))
            print(name or "without an extra")
            print(*(f"  {act:26}{what}" for act, what in told["found"].items()), sep="\n")
            print(*(f"  WRONG: {fault}" for fault in told["faults"]), sep="\n", end="")
            faults += len(told["faults"])
    environments[max(environments, key=len)].run(str(HERE / "smoke.py"))
    sys.exit(bool(faults))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
