"""Links: what they give, what is assigned to them, and what conditions take."""

from __future__ import annotations

from typing import Any, assert_type

from kinto_orm import Condition, Link, Query, Record, col


class Author(Record, collection="authors"):
    name: str


class Article(Record, collection="articles"):
    title: str
    author: Link[Author]
    editor: Link[Author] | None = None
    reviewers: list[Link[Author]] = []
    sequel: Link[Article] | None = None


ada = Author(name="Ada")

# An object, a link or an id, in constructors and in assignments.
article = Article(title="x", author=ada)
Article(title="x", author="ada")
Article(title="x", author=Link(Author, "ada"))
Article(title="x", author=article.author)
article.author = ada
article.author = "ada"
article.author = Link(Author, "ada")
article.author = Link.to(ada)

# In a constructor, and in lists, what may be None is a link only to checkers.
Article(title="x", author=ada, editor=Link.to(ada), reviewers=[Link.to(ada), Link(Author, "bob")])
article.editor = Link.to(ada)
article.editor = ada
article.editor = "ada"
article.editor = None
article.reviewers.append(Link.to(ada))

assert_type(Link.to(ada), Link[Author])
assert_type(Link(Author, "ada"), Link[Author])
assert_type(article.author, Link[Author])
assert_type(article.author.id, str)
assert_type(article.author.model, type[Author])
assert_type(article.author.loaded, Author | None)
assert_type(article.author.fetch(), Author)
assert_type(article.reviewers[0].loaded, Author | None)
if article.sequel:
    assert_type(article.sequel.fetch().author.fetch().name, str)


async def awaited() -> None:
    assert_type(await article.author.afetch(), Author)
    async for each in Article.find().prefetch(Article.author):
        assert_type(each, Article)


assert_type(Article.find().prefetch(Article.author, Article.reviewers), Query[Article])
assert_type(Article.find().prefetch("author"), Query[Article])
assert_type(Article.find().prefetch(Article.author, on_invalid="skip"), Query[Article])

Article.find(Article.author == ada, Article.author != "ada", Article.author == article.author)
assert_type(col(Article.author) == ada, Condition)
assert_type(col(Article.author).in_([Link.to(ada)]), Condition)
assert_type(col(Article.editor).eq(Link.to(ada)), Condition)
assert_type(col(Article.author).in_([ada, "bob"]), Condition)
assert_type(col(Article.editor).not_in([ada]), Condition)
assert_type(col(Article.reviewers).has(ada), Condition)
assert_type(col(Article.reviewers).has_any([ada, "bob", Link.to(ada)]), Condition)

assert_type(ada.backlinks(Article.author), Query[Any])
