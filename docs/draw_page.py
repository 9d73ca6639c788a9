"""Takes the pictures of the page in the browser, over a Kinto with some data.

They are in docs/browse.md; the table is in the README and on the landing page, too.

Run it by `python docs/draw_page.py` when the page looks otherwise than before. It needs Chromium,
as `make browser` does.
"""

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from browser.chromium import MISSING, find  # noqa: E402
from kinto_orm import Bucket, Collection, Session  # noqa: E402
from kinto_orm.server import open_memory, serve  # noqa: E402
from web_page.serving import served  # noqa: E402

IMAGES = ROOT / "docs" / "images"
USER = ("ada", "secret")
# As far as the table goes.
TABLE = {"x": 0, "y": 0, "width": 1080, "height": 582}
SCHEMA = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "description": "As it stands on the cover."},
        "author": {"type": "string"},
        "year": {"type": "integer"},
        "price": {"type": "number"},
        "lent": {"type": "boolean"},
        "shelf": {"enum": ["hall", "study", "cellar"]},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["title"],
}
BOOKS = {
    "emma": ("Emma", "Jane Austen", 1815, 9.5, False, "hall", ["novel"]),
    "frankenstein": ("Frankenstein", "Mary Shelley", 1818, 12.0, True, "study", ["novel", "first"]),
    "jane-eyre": ("Jane Eyre", "Charlotte Brontë", 1847, 8.0, False, "hall", ["novel"]),
    "middlemarch": ("Middlemarch", "George Eliot", 1871, 14.5, True, "study", ["novel", "long"]),
    "notes": ("Notes on the Engine", "Ada Lovelace", 1843, 95.0, False, "cellar", ["science"]),
    "orlando": ("Orlando", "Virginia Woolf", 1928, 11.0, False, "hall", ["novel"]),
}


def fill(session):
    """Store some books."""
    Bucket(id="library").save()
    books = Collection(id="books", json_schema=SCHEMA).save().records
    for id, values in BOOKS.items():
        books.new(dict(zip(SCHEMA["properties"], values, strict=True)), id=id).save()
    return books


def conflict(page, at, books):
    """Change a book that somebody else changes meanwhile."""
    page.goto(f"{at}/records/orlando")
    theirs = books.get("orlando")
    theirs["title"], theirs["price"] = "Orlando: A Biography", 12.5
    theirs.save()
    page.get_by_label("title", exact=True).fill("Orlando. A Novel")
    page.get_by_label("shelf", exact=True).select_option(label="study")
    page.get_by_role("button", name="Save").click()
    page.get_by_label("Take theirs for title").check()


def main():
    """Take them."""
    IMAGES.mkdir(exist_ok=True)
    with (
        open_memory() as server,
        serve(server, port=8888) as kinto,
        Session(kinto.url, auth=USER, bucket="library") as session,
        served(kinto.url, auth=USER) as address,
        sync_playwright() as playwright,
    ):
        books = fill(session)
        at = f"{address}/buckets/library/collections/books"
        browser = playwright.chromium.launch(executable_path=find(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1080, "height": 600})
        page.goto(f"{at}?q=tags+has+novel+year<1900&sort=-year")
        page.screenshot(path=IMAGES / "browse-table.png", clip=TABLE)
        page.emulate_media(color_scheme="dark")
        page.screenshot(path=IMAGES / "browse-table-dark.png", clip=TABLE)
        page.emulate_media(color_scheme="light")
        conflict(page, at, books)
        page.screenshot(path=IMAGES / "browse-conflict.png")
        narrow = browser.new_page(viewport={"width": 390, "height": 760}, color_scheme="dark")
        narrow.goto(f"{at}/records/emma")
        narrow.screenshot(path=IMAGES / "browse-narrow.png")
        browser.close()


if __name__ == "__main__":
    if find() is None:
        sys.exit(MISSING)
    main()
