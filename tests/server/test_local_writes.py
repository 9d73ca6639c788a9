"""What is written in a directory that is opened again."""

import tempfile
from pathlib import Path

from kinto_orm import Record, Session


def test_what_is_written_after_a_directory_was_opened_again_is_kept() -> None:
    """Each opening of a directory adds to what the earlier ones left, the first one or not."""
    with tempfile.TemporaryDirectory(prefix="kinto-orm-") as directory:
        url = f"local://{Path(directory).resolve()}/data"
        for number in range(3):
            with Session(url, collection="openings"):
                assert Record.find().count() == number
                Record(number=number).save()
