"""What has to exist for a request: its bucket and its collection."""

from __future__ import annotations

from dataclasses import dataclass

from kinto_orm.errors import NotFound, ResponseError
from kinto_orm.wire.messages import Request, if_none_match, segment
from kinto_orm.wire.refusals import ERRNO_MISSING_PARENT, is_hidden


@dataclass(frozen=True, slots=True)
class Parents:
    """The bucket and the collection that a call needs, made when they are missing.

    Attributes:
        bucket: The bucket's id.
        collection: The collection's id; None when only the bucket is needed.
        permitted: Whether the library may make the collection, and the bucket if it is the user's
            personal one; it never makes another bucket. If not, it may explain.
        model: The model's name for the explanation; empty when it has no schema to sync.
        loaded: Whether the object was loaded from there, so that the bucket exists.
        personal: Whether it is the user's personal bucket, which is made on first use.
    """

    bucket: str
    collection: str | None
    permitted: bool
    model: str = ""
    loaded: bool = False
    personal: bool = False

    def explaining(self, *, loaded: bool = False) -> Parents:
        """The same, but not to be made: the object was there already, or is only read."""
        return Parents(self.bucket, self.collection, False, self.model, loaded, self.personal)

    def creation(self) -> Request | None:
        """What makes the missing one; None for a bucket that only its owner can make.

        `GET /buckets/default/collections/x` for the personal bucket, which is made by that, too;
        else a PUT with `If-None-Match: *` for the collection only.
        """
        if self.collection is None:
            return Request("GET", "/buckets/default", alone=True) if self.personal else None
        bucket = "default" if self.personal else segment(self.bucket, "bucket")
        path = f"/buckets/{bucket}/collections/{segment(self.collection, 'collection')}"
        if self.personal:
            return Request("GET", path, alone=True)
        return Request("PUT", path, headers=if_none_match(), alone=True)

    def missing(self, error: ResponseError) -> bool:
        """Whether this refusal says that one of the two does not exist.

        An unknown bucket is 403 (401 for the anonymous), an unknown collection 404 with
        errno 111.
        """
        if isinstance(error, NotFound):
            return error.errno == ERRNO_MISSING_PARENT
        return is_hidden(error)

    def remedy(self, error: ResponseError) -> str:
        """What to do about it, for the message."""
        sync = f"call session.sync_schema({self.model}), or " if self.model else ""
        if isinstance(error, NotFound) and not self.permitted:
            return (
                f"The collection {self.collection!r} of bucket {self.bucket!r} does not exist: "
                f"{sync}save Collection(id={self.collection!r}, bucket={self.bucket!r}) first."
            )
        if self.loaded:
            verb = "read" if error.request and error.request.method == "GET" else "write"
            inside = f", its collection {self.collection!r}" if self.collection else ""
            return (
                f"It was loaded from there, so that you lack the permission {verb!r} on it{inside} "
                f"or the bucket {self.bucket!r}."
            )
        return (
            f"The bucket {self.bucket!r} does not exist, or you may not use it (the server does "
            f"not say which): {sync}save Bucket(id={self.bucket!r}) first, or ask for permission."
        )
