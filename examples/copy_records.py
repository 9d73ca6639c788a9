"""Copy the records of a collection that meet conditions to another one, there or elsewhere.

The job that `backport_records` of https://github.com/mozilla/remote-settings does with kinto-http.
The other collection is made equal: what it has more is deleted. Of the servers say
KINTO_ORM_SERVER and KINTO_ORM_AUTH; the other one is the same if `--to` is not given:

    python examples/copy_records.py --dry-run "main/articles?lang=fr&stars>=3 -> preview/articles"
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from operator import eq, ge, gt, le, lt, ne
from typing import Any

from kinto_orm import Collection, Record, Session, field

TESTS = {">=": ge, "<=": le, "!=": ne, "=": eq, ">": gt, "<": lt}
RULE = re.compile(r"([^/\s]+)/([^/?\s]+)(?:\?(\S+))? -> ([^/\s]+)/([^/?\s]+)")


def conditions(text: str) -> Iterator[Any]:
    """The conditions of a rule; what is no JSON is a text."""
    for each in filter(None, text.split("&")):
        name, test, value = re.split(r"([><!]?=|[><])", each, maxsplit=1)
        with suppress(json.JSONDecodeError):
            value = json.loads(value)
        yield TESTS[test](field(name), value)


def publish(there: Session, collection: str) -> None:
    """Approve the changes, or ask for a review, where the collection is to be signed."""
    signer: Any = there.server_info().capabilities.get("signer", {})
    rules = {
        (each["source"]["bucket"], each["source"]["collection"]): each
        for each in signer.get("resources", [])
    }
    rule = rules.get((there.bucket, collection)) or rules.get((there.bucket, None))
    if rule is not None:
        reviewed = rule.get("to_review_enabled", signer["to_review_enabled"])
        status = "to-review" if reviewed else "to-sign"
        Collection.patch(collection, status=status, session=there)
        print(f"{collection}: {status}")


def copy(source: Session, to: Session, rule: str, *, dry_run: bool = False) -> int:
    """Copy by one rule; the number of records that failed."""
    match = RULE.fullmatch(rule)
    if match is None or (source is to and match.group(1, 2) == match.group(4, 5)):
        sys.exit(f"{rule!r} is no rule such as 'main/articles?lang=fr -> preview/articles'")
    here = source.scoped(bucket=match[1], collection=match[2])
    there = to.scoped(bucket=match[4], collection=match[5])
    found = here.find(Record, *conditions(match[3] or ""))
    plan = there.sync(Record, found, existing="replace", delete_missing=True, dry_run=dry_run)
    print(f"{rule}: {plan}")
    for failure in plan.failed:
        print(f"{failure.target.id}: {failure.error}", file=sys.stderr)
    is_signed = there.get(Collection, match[5]).model_dump().get("status") == "signed"
    if not dry_run and not plan.failed and (plan.changes or not is_signed):
        publish(there, match[5])
    return len(plan.failed)


def main(given: list[str] | None = None) -> int:
    """Copy by each rule; the number of records that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rules", nargs="+", metavar="RULE")
    parser.add_argument("--to", metavar="SERVER", help="as KINTO_ORM_TO_AUTH on this server")
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args(given)
    with Session() as source, ExitStack() as stack:
        auth = os.environ.get("KINTO_ORM_TO_AUTH")
        to = stack.enter_context(Session(options.to, auth=auth)) if options.to else source
        return sum(copy(source, to, rule, dry_run=options.dry_run) for rule in options.rules)


if __name__ == "__main__":
    sys.exit(min(main(), 1))
