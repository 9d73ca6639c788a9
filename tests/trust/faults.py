"""The faults: what can become of one request between a program and its server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from trust.answers import (
    HTML,
    JSON,
    PAGE,
    Play,
    batch_somebody,
    close,
    done,
    drip,
    drip_head,
    echo,
    elsewhere,
    half,
    hang,
    having,
    interrupt,
    is_batch,
    is_conditional_read,
    is_head,
    is_list,
    is_old_read,
    is_old_write,
    is_root,
    is_single,
    is_write,
    items,
    kinto,
    list_of,
    lost,
    odd_permissions,
    page,
    refused_about_somebody,
    repeat,
    reset,
    resized,
    responses,
    root,
    says,
    somebody_else,
    truncated,
    undone,
    with_headers,
    without,
)
from trust.proxy import Received

Other = Literal["", "equal", "data", "different", "deleted"]


def _always(request: Received) -> bool:
    return True


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        name: Unique.
        group: The column of the table.
        play: What becomes of the request.
        done: Whether the server did what was asked for.
        lies: Whether the answer says in Kinto's own words, and believably, what is not so: that
            the object is missing, that it has not changed, or that nobody is logged in. That may
            be believed.
        lasting: Whether all later requests meet it, too.
        cancels: Whether the task that waits for the answer is cancelled.
        refuses: Whether no connection is accepted from then on.
        other: What another writer does to the object before the answer, or its loss, arrives:
            "equal" is the same, "data" the same data and no permissions.
        only: Which requests can meet it.
    """

    name: str
    group: str
    play: Play
    done: bool = False
    lies: bool = False
    lasting: bool = False
    refuses: bool = False
    cancels: bool = False
    other: Other = ""
    only: Callable[[Received], bool] = _always


_KINTO_503 = kinto(503, 201, "Service temporary unavailable due to overloading")
_KINTO_409 = kinto(409, 122, "Integrity constraint violated, please retry.", Retry_After="3")
_KINTO_404 = kinto(
    404,
    110,
    "The resource you are looking for could not be found.",
    {"id": "x", "resource_name": "record"},
)

_NO_ANSWER = [
    Fault("refused", "no answer", close, refuses=True),
    Fault("closed", "no answer", close),
    Fault("reset", "no answer", reset),
    Fault("timeout", "no answer", hang),
    Fault("closed_lasting", "no answer", close, lasting=True),
    Fault("timeout_lasting", "no answer", hang, lasting=True),
    Fault("drip", "no answer", drip),
    Fault("drip_head", "no answer", drip_head),
    Fault("drip_lasting", "no answer", drip, lasting=True),
]
_LOST = [
    Fault("lost_closed", "answer lost", lost(close), done=True),
    Fault("lost_reset", "answer lost", lost(reset), done=True),
    Fault("lost_timeout", "answer lost", lost(hang), done=True),
    Fault("lost_half", "answer lost", done(half), done=True),
    Fault("lost_truncated", "answer lost", done(truncated), done=True),
    Fault(
        "lost_garbage",
        "answer lost",
        lost(lambda e: e.write(b"\x00\x01garbage\r\n\r\n") or e.close()),
        done=True,
    ),
    Fault("lost_502", "answer lost", lost(page(502)), done=True),
    Fault("lost_504", "answer lost", lost(page(504)), done=True),
    Fault("lost_503_html", "answer lost", lost(page(503)), done=True),
    Fault("lost_html_200", "answer lost", lost(page(200)), done=True),
    Fault("lost_500", "answer lost", lost(kinto(500, 999, "A programmatic error")), done=True),
    Fault("lost_closed_lasting", "answer lost", lost(close), done=True, lasting=True),
]
_BUSY = [
    Fault("busy_503", "busy", _KINTO_503),
    Fault("busy_503_retry_after", "busy", kinto(503, 201, "Unavailable", Retry_After="1")),
    Fault("busy_503_retry_after_text", "busy", kinto(503, 201, "Unavailable", Retry_After="soon")),
    Fault("busy_503_html", "busy", page(503)),
    Fault("busy_503_lasting", "busy", _KINTO_503, lasting=True),
    Fault("busy_409", "busy", _KINTO_409),
    Fault("busy_409_lasting", "busy", _KINTO_409, lasting=True),
    Fault("busy_429", "busy", kinto(429, 117, "Too many requests", Retry_After="1")),
    Fault("busy_502", "busy", page(502)),
    Fault("busy_504", "busy", page(504)),
    Fault("failed_500", "busy", kinto(500, 999, "A programmatic error occured")),
    Fault("failed_500_html", "busy", page(500)),
    Fault("failed_507", "busy", page(507)),
]
_PORTAL = [
    Fault("html_200", "another's page", page(200)),
    Fault("html_200_lasting", "another's page", page(200), lasting=True),
    Fault("empty_200", "another's page", says(200, b"")),
    Fault("json_object_200", "another's page", says(200, {})),
    Fault("json_list_200", "another's page", says(200, [])),
    Fault("json_null_200", "another's page", says(200, None)),
    Fault("json_text_200", "another's page", says(200, "ok")),
    Fault("json_number_200", "another's page", says(200, 1)),
    Fault("created_201", "another's page", says(201, {})),
    Fault("accepted_202", "another's page", says(202, {})),
    Fault("no_content_204", "another's page", says(204, b"")),
    Fault(
        "unasked_304",
        "another's page",
        says(304, b""),
        only=lambda request: not is_conditional_read(request),
    ),
    Fault("moved_301", "another's page", says(301, PAGE, HTML | {"Location": "http://x.test/"})),
    Fault("found_302", "another's page", says(302, PAGE, HTML | {"Location": "/login"})),
    Fault("temporary_307", "another's page", says(307, b"", {"Location": "http://x.test/v1/"})),
    Fault("echo_200", "another's page", echo(200)),
]
_SHAPE = [
    Fault("data_null", "wrong shape", says(200, {"data": None})),
    Fault("data_empty_object", "wrong shape", says(200, {"data": {}})),
    Fault(
        "data_empty_list",
        "wrong shape",
        says(200, {"data": []}),
        only=lambda request: not request.is_list and request.method != "DELETE",
    ),
    Fault(
        "data_empty_list_for_delete",
        "wrong shape",
        says(200, {"data": []}),
        only=lambda request: request.method == "DELETE" and request.is_single,
    ),
    Fault("data_text", "wrong shape", says(200, {"data": "x"})),
    Fault("data_without_timestamp", "wrong shape", says(200, {"data": {"id": "one"}})),
    Fault(
        "data_wrong_types", "wrong shape", says(200, {"data": {"id": 1, "last_modified": "now"}})
    ),
    Fault(
        "permissions_list",
        "wrong shape",
        done(odd_permissions),
        done=True,
        only=lambda request: is_single(request) and request.method in ("GET", "PUT", "PATCH"),
    ),
    Fault("somebody_else", "wrong shape", somebody_else, only=is_single),
    Fault("bytes", "wrong shape", lambda e: e.write(b"\xff\xfe\x00garbage\r\n\r\n") or e.close()),
    Fault("json_truncated", "wrong shape", says(200, b'{"data": {"id": "one", "la')),
    Fault("json_no_utf8", "wrong shape", says(200, b'{"data": {"id": "\xff\xfe"}}')),
    Fault("json_deep", "wrong shape", says(200, b"[" * 50_000)),
    Fault("json_nan", "wrong shape", says(200, b'{"data": {"id": "one", "last_modified": NaN}}')),
    Fault(
        "length_short",
        "wrong shape",
        lambda e: e.answer(200, b'{"data": {}}', JSON, length=5) or e.close(),
    ),
    Fault(
        "length_text",
        "wrong shape",
        lambda e: e.write(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}") or e.close(),
    ),
    Fault(
        "gzip_garbage", "wrong shape", says(200, b"no gzip", JSON | {"Content-Encoding": "gzip"})
    ),
    Fault(
        "chunked_garbage",
        "wrong shape",
        lambda e: (
            e.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nno\r\n")
            or e.close()
        ),
    ),
    Fault("huge_header", "wrong shape", says(200, {}, {"X-Huge": "x" * 100_000})),
    Fault("many_headers", "wrong shape", says(200, {}, {f"X-{n}": "x" for n in range(300)})),
    Fault("status_999", "wrong shape", says(999, {})),
    Fault("list_of_null", "wrong shape", list_of(None), only=is_list),
    Fault("list_without_ids", "wrong shape", list_of({"title": "x"}), only=is_list),
    Fault("next_page_elsewhere", "wrong shape", done(elsewhere), only=is_list, done=True),
    Fault(
        "next_page_garbage",
        "wrong shape",
        with_headers(Next_Page="::::"),
        only=is_list,
        done=True,
    ),
    Fault(
        "total_text",
        "wrong shape",
        with_headers(Total_Objects="many", Total_Records="many"),
        only=is_head,
        done=True,
    ),
]
_BATCHES = [
    Fault("items_without_status", "batch items", without("status"), done=True, only=is_batch),
    Fault("items_without_body", "batch items", without("body"), done=True, only=is_batch),
    Fault("items_without_headers", "batch items", without("headers"), done=True, only=is_batch),
    Fault("items_null", "batch items", items(lambda item: None), done=True, only=is_batch),
    Fault("items_status_text", "batch items", having("status", "200"), done=True, only=is_batch),
    Fault("items_status_true", "batch items", having("status", True), done=True, only=is_batch),
    Fault("items_status_null", "batch items", having("status", None), done=True, only=is_batch),
    Fault("items_headers_null", "batch items", having("headers", None), done=True, only=is_batch),
    Fault("items_headers_list", "batch items", having("headers", []), done=True, only=is_batch),
    Fault("items_body_null", "batch items", having("body", None), done=True, only=is_batch),
    Fault("items_body_list", "batch items", having("body", []), done=True, only=is_batch),
    Fault("items_body_text", "batch items", having("body", "x"), done=True, only=is_batch),
    Fault("items_304", "batch items", having("status", 304), done=True, only=is_batch),
    Fault(
        "items_503",
        "batch items",
        undone(
            lambda item: {
                **item,
                "status": 503,
                "body": {"code": 503, "errno": 201, "error": "x", "message": "x"},
            }
        ),
        only=is_batch,
    ),
    Fault(
        "items_409",
        "batch items",
        undone(
            lambda item: {
                **item,
                "status": 409,
                "body": {"code": 409, "errno": 122, "error": "x", "message": "x"},
            }
        ),
        only=is_batch,
    ),
    Fault(
        "items_404_empty",
        "batch items",
        undone(lambda item: {**item, "status": 404, "body": {}}),
        only=is_batch,
    ),
    Fault("items_somebody_else", "batch items", undone(batch_somebody), only=is_batch),
    Fault(
        "items_too_few", "batch items", resized(lambda items: items[1:]), done=True, only=is_batch
    ),
    Fault(
        "items_too_many",
        "batch items",
        resized(lambda items: [*items, items[0]]),
        done=True,
        only=is_batch,
    ),
    Fault("responses_null", "batch items", responses(None), only=is_batch),
    Fault("responses_object", "batch items", responses({}), only=is_batch),
    Fault("responses_numbers", "batch items", responses([1, 2]), only=is_batch),
]
_ROOTS = [
    Fault("root_settings_null", "root page", root(settings=None), only=is_root),
    Fault("root_settings_list", "root page", root(settings=[]), only=is_root),
    Fault(
        "root_settings_text",
        "root page",
        root(settings={"batch_max_requests": "many"}),
        only=is_root,
    ),
    Fault(
        "root_settings_zero", "root page", root(settings={"batch_max_requests": 0}), only=is_root
    ),
    Fault("root_capabilities_null", "root page", root(capabilities=None), only=is_root),
    Fault("root_user_null", "root page", root(user=None), lies=True, only=is_root),
    Fault("root_user_empty", "root page", root(user={}), only=is_root),
    Fault(
        "root_user_numbers",
        "root page",
        root(user={"id": 1, "bucket": 2, "principals": 3}),
        only=is_root,
    ),
    Fault("root_empty", "root page", says(200, {}), only=is_root),
]
_REFUSED = [
    Fault(
        "bad_request_400",
        "refused",
        kinto(
            400,
            107,
            "data.title in body: Required",
            [{"location": "body", "name": "data.title", "description": "Required"}],
        ),
    ),
    Fault("bad_request_400_odd", "refused", kinto(400, 107, "odd", [1, None, {"name": 7}])),
    Fault("unauthorized_401", "refused", kinto(401, 104, "Please authenticate yourself")),
    Fault("unauthorized_401_html", "refused", page(401)),
    Fault("forbidden_403", "refused", kinto(403, 121, "This user cannot access this resource.")),
    Fault("forbidden_403_html", "refused", page(403)),
    Fault("missing_404_html", "refused", page(404)),
    Fault("missing_404_empty", "refused", says(404, b"", {})),
    Fault("missing_404_json", "refused", says(404, {"message": "no route"})),
    Fault("missing_404_kinto", "refused", _KINTO_404, lies=True),
    Fault(
        "missing_parent_404",
        "refused",
        kinto(
            404,
            111,
            "The resource could not be found.",
            {"id": "todos", "resource_name": "collection"},
        ),
        lies=True,
    ),
    Fault("read_only_405", "refused", kinto(405, 115, "Method not allowed")),
    Fault("gone_410", "refused", kinto(410, 202, "The service is deprecated")),
    Fault("precondition_412_empty", "refused", says(412, b"", {})),
    Fault("precondition_412_html", "refused", page(412)),
    Fault("precondition_412_kinto", "refused", kinto(412, 114, "Resource was modified")),
    Fault("precondition_412_somebody", "refused", refused_about_somebody),
    Fault("precondition_412_odd", "refused", kinto(412, 114, "odd", {"existing": [1]})),
    Fault("too_large_413", "refused", page(413)),
    Fault("odd_errno", "refused", says(400, {"errno": "x", "message": {}, "details": 7})),
    Fault("echo_400", "refused", echo(400)),
    Fault("echo_500", "refused", echo(500)),
    Fault("echo_502_lasting", "refused", echo(502), lasting=True),
    Fault("unchanged_304", "refused", says(304, b""), only=is_conditional_read, lies=True),
]
_SAID = [
    Fault("backoff", "good answers", with_headers(Backoff="1"), done=True),
    Fault("backoff_text", "good answers", with_headers(Backoff="soon"), done=True),
    Fault("etag_garbage", "good answers", with_headers(ETag="garbage"), done=True),
    Fault(
        "slow",
        "good answers",
        done(lambda e, a: (e.hold(0.05), e.answer(a.status, a.body, a.headers))),
        done=True,
    ),
]
_OLD = [
    Fault("old_answer", "old answer", repeat, lies=True, only=is_old_read),
    Fault("old_answer_to_write", "old answer", repeat, only=is_old_write),
]
_CANCELLED = [
    Fault("cancelled", "cancelled", interrupt, cancels=True),
    Fault("lost_cancelled", "cancelled", lost(interrupt), done=True, cancels=True),
]


def _and_another(fault: Fault) -> list[Fault]:
    """The same fault, and another writer comes before the program knows."""
    others: tuple[Other, ...] = ("equal", "data", "different", "deleted")
    return [
        replace(
            fault,
            name=f"{fault.name}+{other}",
            group=f"another {other}",
            other=other,
            only=is_write,
        )
        for other in others
    ]


_WITH_ANOTHER = [
    each
    for fault in [*_NO_ANSWER, *_LOST, *_BUSY, *_CANCELLED]
    if fault.name
    in (
        "closed",
        "timeout",
        "lost_closed",
        "lost_half",
        "lost_502",
        "busy_503",
        "busy_503_html",
        "busy_409",
        "busy_429",
        "busy_502",
        "failed_500",
        "cancelled",
        "lost_cancelled",
    )
    for each in _and_another(fault)
]

FAULTS: list[Fault] = [
    *_NO_ANSWER,
    *_LOST,
    *_BUSY,
    *_PORTAL,
    *_SHAPE,
    *_BATCHES,
    *_ROOTS,
    *_REFUSED,
    *_SAID,
    *_OLD,
    *_CANCELLED,
    *_WITH_ANOTHER,
]
GROUPS = list(dict.fromkeys(each.group for each in FAULTS))
