"""The declared security level is what parameters and masks are made for."""

import pytest

from bunet.protocols.context import Context, Role
from bunet.protocols.kernels.gc import layout
from bunet.protocols.kernels.ot import extension
from bunet.protocols.kernels.symmetric import aes
from bunet.protocols.mt import slot_products
from bunet.protocols.ot import base
from bunet.protocols.pahe import parameters, reply
from bunet.protocols.random import Random
from bunet.protocols.security import DECLARED, Security


@pytest.mark.parametrize("levels", [(128, 39), (128, 80), (112, 40), (256, 40)])
def test_other_levels_are_refused(levels: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="only 128-bit computational and 40-bit statistical"):
        Security(*levels)


def test_a_context_has_the_declared_level_and_hands_it_on() -> None:
    context = Context(Role.ALICE, Random())
    assert context.security is DECLARED
    assert context.fork(0, 1).security is DECLARED


def test_base_ots_tiles_floods_and_masks_follow_it() -> None:
    assert DECLARED.computational == base.COUNT == extension.COLUMNS
    assert aes.TILE == layout.TILE == 1 << DECLARED.hash_tile_bits
    params = parameters.get("n4096-q94")
    noise = (1 << 10) + reply.zero_noise(params) + 1
    assert 1 << reply.flood_bits(params, 10) >= noise << DECLARED.statistical
    largest = ((1 << 20) - 1) ** 2
    assert 1 << slot_products.plan_of(1, 20).mask_bits >= largest << DECLARED.statistical
