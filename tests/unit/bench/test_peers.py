"""Reading what a peer told, refusing a wrong order, and saying why a peer is not there."""

import json
from pathlib import Path

import pytest

from tests.bench import peers
from tests.bench.peers import known, noting, results
from tests.bench.peers.results import Item, OutOfOrder

FOLDER = Path(peers.__file__).parent
IN_ORDER = [
    Item(0, 0, 10, 20),
    Item(1, 0, 12, 18),  # another key, beside the first
    Item(0, 1, 20, 30),
    Item(1, 1, 25, 40),
]


def found(**other: object) -> known.Found:
    """A machine that has everything but what is named."""
    versions = {name: "1" for peer in known.PEERS for name in peer.needs}
    return known.Found("/bin/node", "/bin/npm", versions, {})._replace(**other)


def test_a_line_of_a_process_is_an_item() -> None:
    assert results.read("7 49 1000 2500\n") == Item(7, 49, 1000, 2500)


@pytest.mark.parametrize("line", ["", "1 2 3", "1 2 3 4 5", "a banner of its own"])
def test_any_other_line_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"unpack|invalid literal"):
        results.read(line)


def test_one_at_a_time_and_in_order_per_key_is_accepted_in_whatever_order_it_was_told() -> None:
    results.check_order(IN_ORDER, keys=2, count=2)
    results.check_order(reversed(IN_ORDER), keys=2, count=2)


@pytest.mark.parametrize(
    ("ran", "said"),
    [
        ([*IN_ORDER[:2], Item(0, 1, 19, 30), IN_ORDER[3]], "1 began before 0 had ended"),
        ([Item(0, 0, 40, 50), *IN_ORDER[1:]], "key 0: item 1 began as number 0"),
        ([*IN_ORDER, Item(0, 1, 50, 60)], "key 0: 3 of 2 items ran"),
        (IN_ORDER[:3], "key 1: 1 of 2 items ran"),
        (IN_ORDER[::2], "1 of 2 keys ran"),
    ],
    ids=["two at once", "the later one first", "twice", "one is missing", "a key is missing"],
)
def test_a_wrong_order_is_refused_and_named(ran: list[Item], said: str) -> None:
    with pytest.raises(OutOfOrder, match=said):
        results.check_order(ran, keys=2, count=2)


def test_disorder_is_counted_where_none_is_refused() -> None:
    assert results.disorder(IN_ORDER) == (0, 1)
    ran = [Item(0, 2, 10, 40), Item(0, 0, 11, 30), Item(0, 1, 12, 20), Item(0, 3, 20, 25)]
    assert results.disorder(ran) == (1, 3)
    late = [Item(0, at, 10 * place, 10 * place + 5) for place, at in enumerate((3, 4, 0, 1, 2))]
    assert results.disorder(late).early_count == 2, "both that began before the three"


def test_rate_waits_and_gaps_are_read_from_the_same_items() -> None:
    sent = [Item(0, 0, 5, 6), Item(0, 1, 7, 8)]
    ran = [Item(0, 0, 10, 20), Item(0, 1, 22, 30)]
    assert results.rate(ran) == 2 / 20e-9
    assert results.waits_s(sent, ran) == [5e-9, 15e-9]
    assert results.gaps_s(ran) == [2e-9]


def test_everything_there_leaves_no_peer_out() -> None:
    assert [known.why_not(peer, found()) for peer in known.PEERS] == [None] * len(known.PEERS)


@pytest.mark.parametrize("program", ["node", "npm"])
def test_without_node_its_peers_say_so_and_the_others_go_on(program: str) -> None:
    told = {peer: known.why_not(peer, found(**{program: None})) for peer in known.PEERS}
    restate = next(peer for peer in known.PEERS if peer.is_restate)
    assert told[restate] == f"{program} is not installed, and Restate needs it"
    assert all(bool(reason) == peer.is_node for peer, reason in told.items())


def test_a_package_that_was_refused_is_named_with_its_reason() -> None:
    (saq,) = (peer for peer in known.PEERS if peer.needs == ("saq",))
    versions = {name: v for name, v in found().versions.items() if name != "saq"}
    without = found(versions=versions, refusals={"saq": "ERROR: no wheel for this Python"})
    assert known.why_not(saq, without) == (
        "saq could not be installed: ERROR: no wheel for this Python"
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("WARNING: slow\nERROR: No matching distribution\n", "ERROR: No matching distribution"),
        ("npm error code E1\nnpm error none such\nnpm error A complete log: x\n", "none such"),
        ("", "it said nothing"),
    ],
)
def test_the_reason_of_a_refusal_is_the_line_that_says_why(text: str, reason: str) -> None:
    assert known.told_reason(text) == reason


def test_each_peer_has_its_script_and_its_packages_have_one_version() -> None:
    pinned = json.loads((FOLDER / "package.json").read_text())["dependencies"]
    lines = (FOLDER / "requirements.txt").read_text().splitlines()
    pinned |= dict(line.split("==") for line in lines if not line.startswith("#"))
    for peer in known.PEERS:
        assert (FOLDER / peer.script).is_file()
        assert set(peer.needs) <= set(pinned)
    assert all(version[0].isdigit() for version in pinned.values())


def test_each_item_is_sent_once_and_a_keys_in_order() -> None:
    words = noting.Words("", keys=2, items=3)
    assert [*noting.places(words)] == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]
