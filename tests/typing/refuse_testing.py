"""What checkers refuse of programs that test with the library."""

from kinto_orm.testing.faults import Faults, cut, delay, meanwhile, refuse


def test_what_is_no_fault(kinto_faults: Faults) -> None:
    kinto_faults.next(503)  # refused: mypy pyright
    kinto_faults.next(cut, to="write")  # refused: mypy pyright
    kinto_faults.next(cut(), to="writes")  # refused: mypy pyright
    kinto_faults.every(cut(), cut())  # refused: mypy pyright
    refuse("503")  # refused: mypy pyright
    delay("1")  # refused: mypy pyright
    meanwhile(lambda todo: todo)  # refused: mypy pyright
    cut(True)  # refused: mypy pyright
