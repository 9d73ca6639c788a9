"""Mistakes with links."""

from kinto_orm import Link, Record, col


class Author(Record, collection="authors"):
    name: str


class Team(Record, collection="teams"):
    name: str


class Article(Record, collection="articles"):
    author: Link[Author]
    editor: Link[Author] | None = None
    reviewers: list[Link[Author]] = []


ada = Author(name="Ada")
team = Team(name="A")
article = Article(author=ada)

Article(author=team)  # refused: mypy pyright
Article(author=3)  # refused: mypy pyright
Article()  # refused: mypy pyright
article.author = team  # refused: mypy pyright
Link(Author, 3)  # refused: mypy pyright
Link.to("ada")  # refused: mypy pyright
print(article.author.name)  # refused: mypy pyright
print(article.author.loaded.name)  # refused: mypy pyright
print(article.editor.id)  # refused: mypy pyright
Author.find().prefetch(Article.titel)  # refused: mypy pyright
Article.find().prefetch(Article.author, on_invalid="ignore")  # refused: mypy pyright
Article.find(col(Article.author).in_([team]))  # refused: mypy pyright
Article.find(col(Article.reviewers).has(team))  # refused: mypy pyright
article.editor = team  # refused: mypy pyright

# Refused by checkers only: the library takes an object or an id here, too.
Article(author=ada, editor=ada)  # refused: mypy pyright
Article(author=ada, reviewers=[ada])  # refused: mypy pyright

# Refused by the library only: to checkers any link may be None when it is assigned.
article.author = None
