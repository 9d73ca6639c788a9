"""Kinto's plugins on a Kinto in a file: what they store besides records is there, and is right."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from kinto_orm import Account, Bucket, Record, Session
from kinto_orm.server import EmbeddedServer, open_sqlite, serve

# kinto-attachment asks pkg_resources for its version.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:pkg_resources")

PHOTO = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40


class Photo(Record, collection="photos"):
    title: str = ""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A Kinto in a file that takes attachments."""
    attachments = tmp_path / "attachments"
    attachments.mkdir()
    settings = {
        "kinto.includes": "kinto_attachment",
        "kinto.attachment.base_path": str(attachments),
        "kinto.attachment.base_url": "http://127.0.0.1/files/",
        "kinto.attachment.keep_old_files": "false",
    }
    with open_sqlite(tmp_path / "app.db", settings=settings, durable=False) as opened:
        yield opened


def test_attachments(server: EmbeddedServer, tmp_path: Path) -> None:
    """What kinto-attachment says of a file is a part of its record, and goes with it."""
    with (
        serve(server) as served,
        Session(served.url, auth=server.auth, bucket="b") as session,
    ):
        assert "attachments" in session.server_info().capabilities
        photos = Bucket(id="b").save().collections.new(id="photos").save().records
        photo = Photo(title="Sunset").save()
        url = f"{served.url.removesuffix('/v1')}/v1{photo.uri}/attachment"
        with requests.Session() as http:
            http.auth = server.auth
            sent = http.post(url, files={"attachment": ("sunset.png", PHOTO, "image/png")})
            assert sent.status_code == 200, sent.text
            found = photos.find().one()["attachment"]
            assert found["filename"] == "sunset.png"
            assert (found["size"], found["mimetype"]) == (len(PHOTO), "image/png")
            assert found["hash"] == hashlib.sha256(PHOTO).hexdigest()
            stored = tmp_path / "attachments" / found["location"].partition("/files/")[2]
            assert stored.read_bytes() == PHOTO
            photo.refresh()
            photo.title = "Sunrise"
            photo.save()
            again = photos.find().one()
            assert (again["title"], again["attachment"]) == ("Sunrise", found)
            assert http.delete(url).status_code == 204
        assert not photos.find().one()["attachment"]
        assert not stored.exists()
        photo.refresh().delete()


def test_accounts_history_and_flush(server: EmbeddedServer) -> None:
    """An account has a bucket and a past of its own; a flush leaves nothing of either."""
    with serve(server) as served:
        url = served.url
        with Session(url, auth=server.auth) as session:
            Account(id="ada", password="s3cret").save(session=session)
        with Session(url, auth=("ada", "s3cret")) as ada:
            account = ada.account()
            assert account.id == "ada"
            assert "account:ada" in account.principals
            photo = Photo(title="one").save()  # makes the default bucket and the collection
            photo.title = "two"
            photo.save()
            assert [each.action for each in photo.history()] == ["update", "create"]
            with Session(url, auth=server.auth) as session:
                changed = Account.get("ada", session=session)
                changed.password = "0ther"
                changed.save()
        with Session(url, auth=("ada", "0ther")):
            assert Photo.get(photo.id).title == "two"
        assert requests.post(f"{url}/__flush__", auth=server.auth, timeout=10).status_code == 202
        with Session(url, auth=("ada", "0ther")) as gone:
            assert gone.server_info().user["id"] != "account:ada"  # but anybody of that name
            assert Photo.get_or_none(photo.id) is None
