"""What checkers refuse of programs that test with the library."""

from pydantic import BaseModel

from kinto_orm.testing import Factory
from kinto_orm.testing.faults import Faults, cut, delay, meanwhile, refuse
from models import Todo


def test_what_is_no_fault(kinto_faults: Faults) -> None:
    kinto_faults.next(503)  # refused: mypy pyright
    kinto_faults.next(cut, to="write")  # refused: mypy pyright
    kinto_faults.next(cut(), to="writes")  # refused: mypy pyright
    kinto_faults.every(cut(), cut())  # refused: mypy pyright
    refuse("503")  # refused: mypy pyright
    delay("1")  # refused: mypy pyright
    meanwhile(lambda todo: todo)  # refused: mypy pyright
    cut(True)  # refused: mypy pyright


class Plain(BaseModel):
    title: str


def test_what_is_no_model(kinto_factory: Factory) -> None:
    kinto_factory(Plain)  # refused: mypy pyright
    kinto_factory(model=Todo)  # refused: mypy pyright
    kinto_factory.many(Todo)  # refused: mypy pyright
    kinto_factory.create(Todo, "3")  # refused: mypy pyright
    one: list[Todo] = kinto_factory(Todo)  # refused: mypy pyright
    assert one
