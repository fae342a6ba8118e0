"""The two flags, as a connector maps them if nobody says otherwise: there and back, and the right way round."""

from app import clock
from app.connectors.shapes import End, Key, Write
from app.sync.mapping import Pair, Way, to_here, to_there
from tests.connectors.contract.place import ANN, Feed, Place, everybody, fetched, scenario
from tests.connectors.contract.props import default_pairs


@scenario
async def an_opt_out_survives_the_way_there_and_back(place: Place) -> None:
    crm, connector = place.crm, place.connector()
    for object_ in connector.objects:
        pair = (await default_pairs(connector, object_))["opted_out"]
        assert Way.BOTH is pair.way
        key = Key(object_, await crm.add(f"ann.{object_}@example.com".lower(), of=object_))
        quiet = Key(object_, await crm.add(f"bob.{object_}@example.com".lower(), of=object_))

        async def said(key: Key, pair: Pair = pair) -> bool:
            return bool(to_here(pair, (await fetched(connector, key, [pair.there])).values.get(pair.there)))

        assert (False, False) == (await said(key), await said(quiet))  # nobody said anything

        [outcome] = await connector.write([Write(key, {pair.there: to_there(pair, True)})])
        assert (End.DONE, True, True) == (outcome.end, crm.is_opted_out(key.id, pair.there), await said(key))
        assert not crm.is_opted_out(quiet.id, pair.there)

        await crm.opt(key.id, pair.there, out=False)
        await crm.opt(quiet.id, pair.there, out=True)
        feed = Feed(place, [pair.there], object_)
        await feed.look(connector)
        assert (False, True) == (await said(key), await said(quiet))
        assert (False, True) == tuple(bool(to_here(pair, feed.last[one.id].values[pair.there])) for one in (key, quiet))


@scenario
async def what_the_crm_keeps_in_silence_is_said(place: Place) -> None:
    """An outcome says that it is done: then it is, or the outcome says what is there instead."""
    crm, connector = place.crm, place.connector()
    pair = (await default_pairs(connector, crm.object))["opted_out"]
    key = place.key(await crm.add(ANN))
    for is_out in (True, False, True, False):
        [outcome] = await connector.write([Write(key, {pair.there: to_there(pair, is_out)})])
        assert End.DONE is outcome.end
        kept = is_out if outcome.kept is None else to_here(pair, outcome.kept[pair.there])
        assert crm.is_opted_out(key.id, pair.there) is kept


@scenario
async def an_opt_out_that_moves_no_stamp_is_seen_by_the_slow_walk(place: Place) -> None:
    crm, connector = place.crm, place.connector()
    pair = (await default_pairs(connector, crm.object))["opted_out"]
    ids = [await crm.add(f"{n}@example.com") for n in range(3)]
    crm.hush()
    await crm.opt(ids[1], pair.there, out=True)

    walked = await everybody(connector, crm.object, [pair.there])

    assert [ids[1]] == [one.key.id for one in walked if to_here(pair, one.values[pair.there])]


@scenario
async def a_bounce_survives_the_way_there_and_back(place: Place) -> None:
    crm, connector = place.crm, place.connector()
    for object_ in connector.objects:
        pairs = await default_pairs(connector, object_)
        here = next(name for name in ("bounced", "bounced_at") if name in pairs and pairs[name].way is Way.BOTH)
        pair, ours = pairs[here], {True: True if here == "bounced" else clock.now(), False: None}
        key = Key(object_, await crm.add(f"ann.{object_}@example.com".lower(), of=object_))

        for is_bounced in (True, False, True):
            value = to_there(pair, ours[is_bounced] if here == "bounced_at" else is_bounced)
            [outcome] = await connector.write([Write(key, {pair.there: value})])
            assert End.DONE is outcome.end
            [record] = await connector.fetch(object_, [key.id], [pair.there])
            assert is_bounced is bool(to_here(pair, record.values[pair.there]))
            assert value == crm.sees(key.id, pair.there)


@scenario
async def what_is_suggested_is_there(place: Place) -> None:
    connector = place.connector()
    for object_ in connector.objects:
        pairs = await default_pairs(connector, object_)
        known = {one.name: one for one in await connector.describe(object_)}
        assert {"email", "opted_out"} <= pairs.keys()
        assert (Way.IN, place.crm.address) == (pairs["email"].way, pairs["email"].there)
        for pair in pairs.values():
            assert pair.there in known
            assert known[pair.there].is_writable or not pair.goes_out
