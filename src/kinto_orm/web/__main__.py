"""`python -m kinto_orm.web`: the page in the browser, without the rest of the command line."""

from __future__ import annotations

import argparse
import sys

from kinto_orm.errors import KintoError
from kinto_orm.web import PORT, run


def main(arguments: list[str] | None = None) -> int:
    """Serve the page until it is interrupted.

    Returns:
        The exit status: 0, or 2 where an argument is wrong.
    """
    given = vars(_parser().parse_args(arguments))
    try:
        run(given.pop("server"), hosts=tuple(given.pop("allow_host")), **given)
    except KeyboardInterrupt:
        return 0
    except (KintoError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m kinto_orm.web", description=__doc__)
    parser.add_argument("--server", help="the Kinto's URL; by default KINTO_ORM_SERVER")
    parser.add_argument("--auth", help="user:password; by default each logs in on the page")
    parser.add_argument("--bucket", help="the bucket to begin with")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at")
    parser.add_argument("--port", type=int, default=PORT, help="the port; 0 takes a free one")
    parser.add_argument("--read-only", action="store_true", help="refuse everything that writes")
    parser.add_argument(
        "--allow-host", action="append", default=[], help="another name of the page"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
