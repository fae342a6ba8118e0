from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidInput
from app.store import pages

_PLACE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.text(st.characters(codec="utf-8"), max_size=50),
    st.floats(allow_nan=False, allow_infinity=False),
)


@given(st.lists(_PLACE, min_size=1, max_size=4))
def test_a_cursor_names_the_place_it_was_made_of(place: list[Any]) -> None:
    cursor = pages.encode(*place)

    assert place == pages.decode(cursor, len(place))
    assert cursor.isascii()
    assert not set(cursor) & set("+/=&?# ")


@given(st.one_of(st.text(), st.text("ABCDEabcde0123_-=", max_size=40)))
def test_any_other_text_is_refused_and_never_an_error_of_ours(text: str) -> None:
    faults = []
    try:
        assert 2 == len(pages.decode(text, 2))
    except InvalidInput as refused:
        faults = [fault.pointer for fault in refused.faults]

    assert faults in ([], ["/cursor"])


def test_a_cursor_of_another_length_is_refused() -> None:
    with pytest.raises(InvalidInput):
        pages.decode(pages.encode(1, 2), 3)
