"""What the search page knows of each section: its heading, its words, and what others call it.

The pages are read as they were written, so that all of them are in it, also where few were built
again. `_static/section_search.js` finds in it.
"""

import json
import re
from collections import Counter, defaultdict
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

from sphinx.search.en import SearchEnglish

# What a word counts by where it stands. What a section is called says more than what it says.
HEADING, CALLED, ABOVE, TEXT, CODE = 16, 10, 4, 2, 1

INDEX = "section_index.js"
SEARCH = "section_search.js"
ALIKE = Path(__file__).with_name("words_alike.txt")

_ENGLISH = SearchEnglish({})
_SPLIT = re.compile(r"\W+")
_HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}
# Between the parts of a class's name: `BatchError`.
_PARTS = re.compile(r"(?<=[a-z])(?=[A-Z])")
# An error as Python prints it.
_ERROR = re.compile(r"^(?:\w+\.)*([A-Z]\w+): (.+)$", re.MULTILINE)


def setup(app):
    """Write the index when the pages are there, which is before the search page is made."""
    app.add_config_value("search_questions", "", "html")
    app.add_config_value("search_weights", {}, "html")
    app.connect("html-collect-pages", write)
    app.connect("html-page-context", load)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def load(app, pagename, templatename, context, doctree):
    """Let the search page have it, and no other."""
    if pagename == "search":
        app.add_js_file(INDEX)
        app.add_js_file(SEARCH, loading_method="defer")  # after Sphinx's own


def write(app):
    """Read all pages, and write the index."""
    pages = {name: _Page(name) for name in sorted(app.env.found_docs)}
    for name, page in pages.items():
        page.feed(Path(app.builder.get_outfilename(name)).read_text())
    for name, entries in app.env.domains["index"].entries.items():
        for _, text, anchor, main, _ in entries:
            if main:
                pages[name].at(anchor).asked.add(text)
    for page in pages.values():
        for target, text in page.links:
            for there in found(pages, target):
                there.called.add(text)
    for question, target in pages[app.config.search_questions].questions:
        for there in found(pages, target):
            there.asked.add(question)
    sections = [each for page in pages.values() for each in page.sections if each.heading]
    known = {"weights": app.config.search_weights, "alike": alike(), **indexed(sections)}
    text = json.dumps(known, ensure_ascii=False, separators=(",", ":"))
    Path(app.outdir, "_static", INDEX).write_text(f"SectionSearch = {text};\n")
    return []


def found(pages, target):
    """The section to which a link leads, if that is a page's."""
    name, anchor = urldefrag(target)
    page = pages.get(name.removesuffix(".html"))
    return [page.at(unquote(anchor))] if page is not None else []


class Section:
    """A section of a page, or an object of the reference.

    Attributes:
        page: The page's name.
        anchor: Its id.
        above: The one around it.
        is_object: Whether it is an object.
        heading: Its heading, or the object's whole name; empty before the first heading.
        words: What the words in it count.
        called: What links call it, and the errors that it shows.
        asked: The questions that it answers, and its entries in the index of the documentation.
    """

    def __init__(self, page, anchor="", above=None, *, is_object=False):
        self.page, self.anchor, self.above, self.is_object = page, anchor, above, is_object
        self.heading = anchor if is_object else ""
        self.words = Counter()
        self.called = set()
        self.asked = set()

    @property
    def around(self):
        """Those around it, the nearest one first."""
        return [] if self.above is None else [self.above, *self.above.around]

    def counts(self):
        """What each word counts of all that is known of it."""
        name = _PARTS.sub("_", self.heading) if self.is_object else self.heading
        counts = Counter(self.words)
        for word in words(name, all_of_them=True):
            counts[word] += HEADING
        for each in self.around:
            counts.update(dict.fromkeys(words(each.heading), ABOVE))
        for text in sorted(self.called | self.asked):
            counts.update(dict.fromkeys(words(text, all_of_them=True), CALLED))
        return counts


class _Page(HTMLParser):
    """Reads the sections of a page, and where it leads.

    Attributes:
        sections: The first one is what stands before the first heading.
        links: Each with its target and its text.
        questions: The terms of its lists of definitions, each with the last link of the definition.
    """

    def __init__(self, name):
        super().__init__()
        self.name = name
        self.sections = [Section(name)]
        self.links = []
        self.questions = []
        self._inside = [self.sections[0]]
        self._ids = {}
        self._open = Counter()
        self._code = self._term = ""
        self._link = None

    def at(self, anchor):
        """The section in which an id is; that of the page, where it is none of them."""
        return self._ids.get(anchor, self.sections[1])

    def handle_starttag(self, tag, attrs):
        """Begin a section, an object, a link or a term."""
        attributes = {name: value or "" for name, value in attrs}
        classes = attributes.get("class", "").split()
        self._open["main"] |= attributes.get("role") == "main"
        if not self._open["main"]:
            return
        self._open[tag] += 1
        if tag == "section":
            self._begin(attributes["id"])
        elif tag == "dl":
            self._inside.append(self._inside[-1])
        elif tag == "dt" and "sig-object" in classes and "id" in attributes:
            self._inside.pop()
            self._begin(attributes["id"], is_object=True)
        elif tag == "dt":
            self._term = ""
        elif tag == "a" and "internal" in classes:
            self._link = [urljoin(f"{self.name}.html", attributes["href"]), ""]
        if "id" in attributes:
            self._ids.setdefault(attributes["id"], self._inside[-1])

    def _begin(self, anchor, *, is_object=False):
        self.sections.append(Section(self.name, anchor, self._inside[-1], is_object=is_object))
        self._inside.append(self.sections[-1])

    def handle_endtag(self, tag):
        """End it."""
        self._open[tag] -= bool(self._open[tag])
        if not self._open["main"]:
            return
        if tag in ("section", "dl"):
            self._inside.pop()
        elif tag == "a" and self._link:
            self.links.append(self._link)
            self._link = None
        elif tag == "dd" and self.links:
            self.questions.append((self._term, self.links[-1][0]))
        elif tag == "pre":
            for name, said in _ERROR.findall(self._code):
                self._inside[-1].called.add(f"{name} {_PARTS.sub(' ', name)} {said}")
            self._code = ""
        elif tag == "article":
            self._open["main"] = 0

    def handle_data(self, data):
        """Keep a text where it stands."""
        section = self._inside[-1]
        if not self._open["main"] or data == "¶":
            return
        if any(self._open[each] for each in _HEADINGS):
            section.heading += data
            return
        for word in words(data):
            section.words[word] += CODE if self._open["pre"] else TEXT
        if self._link:
            self._link[1] += data
        if self._open["dt"]:
            self._term += data
        if self._open["pre"]:
            self._code += data


def words(text, *, all_of_them=False):
    """The stems of a text's words, and of the parts of names such as `created_at`.

    Words that say little are left out, or given in capitals where all of them are wanted. One that
    was written so, as OR is, says something.
    """
    for word in _SPLIT.split(text):
        parts = word.split("_")
        for each in [word, *(parts if len(parts) > 1 else [])]:
            if len(each) < 2 or (each.isdigit() and len(each) < 3):
                continue
            if each.lower() not in _ENGLISH.stopwords:
                yield _ENGLISH.stem(each)
            elif all_of_them or each.isupper():
                yield each.upper()


def spelt(text):
    """A whole text in stems, for what is asked just so."""
    return " ".join(_ENGLISH.stem(each) for each in _SPLIT.split(text) if each)


def alike():
    """The words that mean the same as another one."""
    same = defaultdict(set)
    for line in ALIKE.read_text().splitlines():
        group = set() if line.startswith("#") else set(words(line))
        for word in group:
            same[word] |= group - {word}
    return {word: sorted(others) for word, others in same.items()}


def indexed(sections):
    """The sections as rows, and by each word and each question those that have it."""
    rows, named, asked = [], defaultdict(list), defaultdict(list)
    titles = {}
    for number, section in enumerate(sections):
        title = titles.setdefault(section.page, section.heading)
        is_page = len(section.around) == 1 and not section.is_object
        anchor = "" if is_page else section.anchor
        length = section.words.total()
        rows.append([section.page, anchor, section.heading, title, length, int(section.is_object)])
        for word, count in section.counts().items():
            named[word] += [number, count]
        exact = {*section.asked, *([title] if is_page else [])}
        if section.is_object:
            exact.add(section.heading.partition(".")[2])
        for each in {spelt(text) for text in exact}:
            asked[each].append(number)
    return {"sections": rows, "words": named, "asked": asked}
