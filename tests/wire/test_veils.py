"""What is shown of requests to models with secret fields."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kinto_orm.wire.masking import Mask
from kinto_orm.wire.messages import Request, query_string
from kinto_orm.wire.veils import Veil, masked, union, without_values

VEIL = Veil([("token",), ("card", "pin"), ("api-key",)])
SECRET = ("token", "card.pin", "card", "token.a", "api-key")
OPEN = ("title", "card.city", "tokens", "age", "pin", "id")
OPERATORS = ("eq_", "not_", "in_", "exclude_", "lt_", "gt_", "min_", "max_", "like_", "contains_",
             "contains_any_", "")  # fmt: skip
MARK = "m4rk3d"

values = st.text(alphabet='ab ,"&=#%é+', max_size=5).map(lambda text: f"{MARK}{text}")


def params(names: tuple[str, ...]) -> st.SearchStrategy[list[tuple[str, str]]]:
    """Parameters with any operator, and with spaces behind where a name comes twice."""
    name = st.builds("{}{}{}".format, st.sampled_from(OPERATORS), st.sampled_from(names),
                     st.sampled_from(["", " ", "  "]))  # fmt: skip
    return st.lists(st.tuples(name, values), max_size=4)


@given(secret=params(SECRET), plain=params(OPEN), text=values)
def test_values_of_secret_fields_are_hidden_and_no_others(
    secret: list[Any], plain: list[Any], text: str
) -> None:
    """Whatever the operator; in the query string that is sent, and in conditions."""
    query = query_string([*plain, *secret])
    shown = VEIL.query(query)
    assert shown.count(MARK) == len(plain)
    assert shown.count("=...") == len(secret)
    assert len(VEIL.params(secret)) == len(secret)
    assert MARK not in str(VEIL.params(secret))
    request = Request("GET", "/x", query, veil=VEIL)
    assert repr(request).count(MARK) == len(plain)
    assert request.target == (f"/x?{query}" if query else "/x")
    assert VEIL.query(query_string(plain)) == query_string(plain)


@given(
    values=st.recursive(values | st.integers(10**6, 10**9), lambda v: st.lists(v, max_size=3)),
    name=st.sampled_from(["token", "api-key"]),
)
def test_what_was_sent_is_hidden_where_it_comes_back(values: Any, name: str) -> None:
    """In what a server says of a body, or of a query: quoted in any way, also in a JSON Patch."""
    data = {name: values, "title": "open", "card": {"city": "Lyon", "pin": values}}
    patch = [{"op": "add", "path": f"/data/{name}", "value": values}]
    for sent in ({"data": data}, patch):
        request = Request("PUT", "/x", body=json.dumps(sent).encode(), veil=VEIL)
        mask = request.masked(Mask({}))
        for said in (json.dumps(values), repr(values), query_string([("a", json.dumps(values))])):
            hidden = mask(f"open: {said} in Lyon")
            assert MARK not in hidden
            assert hidden.startswith("open: ")
            assert hidden.endswith(" in Lyon")
        assert not mask.shows_bodies


def test_tokens_of_pages_in_the_order_of_a_secret_are_hidden() -> None:
    """They have values of what is sorted by; others have none of them."""
    assert VEIL.query("_sort=-token&_token=abc") == "_sort=-token&_token=..."
    assert VEIL.query("_token=abc&_sort=title,card.pin") == "_token=...&_sort=title,card.pin"
    assert VEIL.query("_sort=title&_token=abc") == "_sort=title&_token=abc"


def test_a_name_that_looks_like_an_operator() -> None:
    """A field `min_age` is hidden; nothing tells it from the least value of a field `age`."""
    veil = Veil([("min_age",)])
    assert veil.query("min_age=1") == "min_age=..."
    assert veil.query("eq_min_age=1&eq_age=2") == "eq_min_age=...&eq_age=2"


def test_keys_of_a_secret_dictionary_are_values() -> None:
    """They are in the name of a parameter, and in an order."""
    veil = Veil([("wallet",)])
    query = "has_wallet.k=true&eq_wallet.k=1&_sort=-wallet.k,title&title=%22a%22"
    assert veil.query(query) == "has_wallet=true&eq_wallet=...&_sort=-wallet,title&title=%22a%22"
    assert Request("GET", "/", query, veil=veil).masked(Mask({}))("no 'k' here") == "no '***' here"
    assert veil.cut(["wallet", "k", "a"]) == ("wallet",)
    assert veil.cut(["title"]) == ("title",)


def test_a_field_that_is_asked_for_at_all() -> None:
    """Whether it is there is no value of it."""
    assert VEIL.query("has_token=true") == "has_token=true"


def test_several_veils() -> None:
    """They hide what any of them hides; of none there is none."""
    other = Veil([("other",)])
    both = union([None, VEIL, other, VEIL])
    assert both is not None
    assert both.hides(["other"])
    assert both.hides(["card", "pin"])
    assert union([None, VEIL, VEIL]) is VEIL
    assert union([None, None]) is None


def test_a_batch_hides_what_its_requests_have() -> None:
    """A page about the batch repeats all of them."""
    body = json.dumps({"data": {"token": MARK}}).encode()
    parts = (Request("PUT", "/x", body=body, veil=VEIL), Request("GET", "/y"))
    batch = Request("POST", "/batch", carried=parts, veil=union(each.veil for each in parts))
    assert MARK not in batch.masked(Mask({}))(f"{MARK} cannot be")
    assert Request("POST", "/batch", carried=parts[1:]).masked(Mask({})).shows_bodies


def test_short_values_and_words() -> None:
    """A short value is hidden where it stands alone: else every other word had stars in it."""
    assert without_values("a cat is on a mat", ["on"]) == "a cat is *** a mat"
    assert without_values("one", ["on", "", None, True]) == "one"
    assert masked(Mask({}), tuple)("text") == "text"
