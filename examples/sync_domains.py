"""Keep collections equal to lists of domains, and ask for a review when something changed.

The job that https://github.com/mozilla/remote-settings-fxrelay-allowlist-updater does with
kinto-http. A list has a domain on each line, and is a file or a URL. Of the server say
KINTO_ORM_SERVER and KINTO_ORM_AUTH:

    python examples/sync_domains.py --dry-run allowlist=allowed.txt denylist=denied.txt
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import requests

from kinto_orm import Collection, Record, Session


class Domain(Record):
    """One domain; its id follows from it, so that each run finds the same record."""

    domain: str


def read(source: str) -> Iterator[Domain]:
    """The domains of a list."""
    if "://" in source:
        response = requests.get(source, timeout=30)
        response.raise_for_status()
    text = response.text if "://" in source else Path(source).read_text()
    for line in sorted(set(filter(None, text.splitlines()))):
        yield Domain(id=line.replace(".", "-"), domain=line)


def main(given: list[str] | None = None) -> int:
    """Make each collection equal to its list; the number of records that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lists", nargs="+", metavar="COLLECTION=LIST")
    parser.add_argument("--bucket", default="main-workspace")
    parser.add_argument("--approve", action="store_true", help="approve the changes at once")
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args(given)
    failed = 0
    with Session(bucket=options.bucket) as session:
        print("Logged in as", (session.server_info().user or {}).get("id", "nobody"))
        for collection, _, source in (each.partition("=") for each in options.lists):
            domains, scope = list(read(source)), session.scoped(collection=collection)
            plan = scope.sync(
                Domain, domains, existing="replace", delete_missing=True, dry_run=options.dry_run
            )
            print(f"{collection}: {len(domains)} domains.", plan)
            for failure in plan.failed:
                print(f"{failure.target.domain}: {failure.error}", file=sys.stderr)
            failed += len(plan.failed)
            if plan.changes and not plan.failed and not options.dry_run:
                Collection.patch(collection, status="to-review", last_editor_comment="r?")
                if options.approve:
                    Collection.patch(collection, status="to-sign")
    return failed


if __name__ == "__main__":
    sys.exit(min(main(), 1))
