"""Orders: what a page, a walk and a count find in them while records come, change and go."""

from hypothesis import given, settings
from hypothesis import strategies as st

from app.sandbox.orders import CountedOrder, Order

ROWS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 8_000)), unique_by=lambda row: row[1], max_size=50)


@settings(max_examples=20, deadline=None)
@given(ROWS)
def test_a_counted_order_is_a_sorted_list_whatever_comes_and_goes(rows: list[tuple[int, int]]) -> None:
    many = [(number * 7_919 % 97, number + 10_000) for number in range(5_000)]
    order = CountedOrder()
    for row in (*rows, *many):
        order.add(row)
    for row in many[::3]:
        order.remove(row)
    kept = sorted({*rows, *many} - set(many[::3]))

    assert [number for _, number in kept] == list(order.ids(*order.between()))
    low, high = sum(value < 20 for value, _ in kept), sum(value <= 40 for value, _ in kept)
    assert (low, high) == order.between(20, 40)
    assert [number for _, number in kept[low : low + 5]] == list(order.ids(low, low + 5))
    assert [number for _, number in kept[2_990:3_010]] == list(order.ids(2_990, 3_010))
    assert [(0, 0), (len(kept), len(kept))] == [order.between(-2, -1), order.between(98, 99)]
    for row in kept:
        order.remove(row)
    assert (0, []) == (len(order), list(order.ids(0, 10)))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abcdef")), max_size=60))
def test_an_order_has_each_record_once_at_its_last_value(writes: list[tuple[int, str]]) -> None:
    records: dict[str, tuple[int, str]] = {}
    order: Order[str, tuple[int, str]] = Order(records, lambda record: record[0])
    for value, id_ in writes:
        if value:
            records[id_] = (value, id_)
            order.put(id_)
        else:
            records.pop(id_, None)
    kept = sorted(records.values())

    assert kept == list(order.ascending())
    assert kept[::-1] == list(order.descending())
    assert [one for one in kept if 3 <= one[0] < 7] == list(order.ascending((3, ""), (7, "")))
    assert [one for one in kept if 3 < one[0] <= 7] == list(order.ascending((3, "~"), (7, "~")))
    for at, one in enumerate(kept):
        assert kept[at:] == list(order.ascending(one))
        assert kept[at + 1 :] == list(order.ascending(one, after=True))
        assert kept[:at][::-1] == list(order.descending(one))


def test_a_walk_goes_on_over_what_is_written_meanwhile() -> None:
    records = dict.fromkeys(range(100), 0)
    order: Order[int, int] = Order(records, lambda value: value)
    for number in records:
        order.put(number)

    walk = order.ascending()
    seen = [next(walk) for _ in range(10)]
    for time in range(1, 40):
        for number in records:
            records[number] = time
            order.put(number)

    assert [0] * 10 == seen
    assert [] == list(walk)
    assert [39] * 100 == list(order.ascending())
