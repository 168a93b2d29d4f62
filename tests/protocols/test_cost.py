"""Costs put together as protocols are."""

from bunet.protocols.context import Role
from bunet.protocols.cost import Cost

CHOICES = Cost.flight(Role.ALICE, 16, {"ot": 4, "aes_blocks": 2})
TABLES = Cost.flight(Role.BOB, 100, {"aes_blocks": 8})


def test_a_flight_is_one_round_in_one_direction() -> None:
    assert Cost(16, 0, 1, {"ot": 4, "aes_blocks": 2}) == CHOICES
    assert Cost(0, 100, 1, {"aes_blocks": 8}) == TABLES


def test_then_adds_rounds() -> None:
    assert CHOICES.then(TABLES) == Cost(16, 100, 2, {"ot": 4, "aes_blocks": 10})
    assert CHOICES.then(TABLES, TABLES) == CHOICES.then(TABLES).then(TABLES)


def test_beside_takes_the_longest() -> None:
    assert CHOICES.beside(TABLES) == Cost(16, 100, 1, {"ot": 4, "aes_blocks": 10})
    assert CHOICES.then(TABLES).beside(CHOICES) == Cost(32, 100, 2, {"ot": 8, "aes_blocks": 12})


def test_doing_nothing_is_neutral() -> None:
    for cost in (CHOICES, CHOICES.then(TABLES)):
        assert cost == Cost().then(cost) == cost.then(Cost()) == Cost().beside(cost) == cost.beside() == cost.then()
