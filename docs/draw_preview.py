"""Draws docs/_static/preview.png, which is shown where somebody passes on a link to a page.

It has what the project is, and the first example of the README. Run it by
`python docs/draw_preview.py` when these have changed. It needs Chromium, as `make browser` does.
"""

import re
import sys
import tomllib
from html import escape
from pathlib import Path

from playwright.sync_api import sync_playwright
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from browser.chromium import MISSING, find  # noqa: E402

PICTURE = ROOT / "docs" / "_static" / "preview.png"
# What those who show previews ask for.
SIZE = {"width": 1200, "height": 630}
PAGE = """<!doctype html><meta charset="utf-8"><style>
* { margin: 0; box-sizing: border-box }
body { height: 630px; padding: 40px 60px; background: #f6f8fc; color: #16233f;
       font-family: Inter, "DejaVu Sans", sans-serif; border-top: 14px solid #2b5fd9 }
h1 { font-size: 56px } p { font-size: 27px; margin: 10px 0 26px }
.highlight { background: #fff; border: 2px solid #d8e0ef; border-radius: 12px; padding: 20px 28px }
pre { font: 24px/1.35 "DejaVu Sans Mono", monospace } STYLES
</style><h1>kinto-orm</h1><p>SAID</p>CODE"""


def main():
    """Draw it."""
    said = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["description"]
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    look = HtmlFormatter(style="friendly")
    # One blank line is enough here.
    shown = highlight(re.sub(r"\n\n\n", "\n\n", code), PythonLexer(), look)
    html = PAGE.replace("STYLES", look.get_style_defs(".highlight"))
    html = html.replace("SAID", escape(said)).replace("CODE", shown)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find(), args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE)
        page.set_content(html)
        page.screenshot(path=PICTURE)
        browser.close()


if __name__ == "__main__":
    if find() is None:
        sys.exit(MISSING)
    main()
