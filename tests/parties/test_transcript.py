"""What Bob sees of a run: ciphertexts, OT columns, garbled tables, masked numbers; nothing without Alice's key."""

from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bunet.models.compiled import Compiled
from bunet.parties.planner import PlannedLayer, choose, pahe_names, plan
from bunet.protocols import buffer_pool
from bunet.protocols.ass.share import Share
from bunet.protocols.context import Context, Role
from bunet.protocols.layers.conv_plan import plan_of
from bunet.protocols.lockstep import lockstep
from bunet.protocols.ot import rows
from bunet.protocols.pahe import bfv
from bunet.protocols.pahe.keys import SecretKey
from bunet.protocols.random import Random
from bunet.protocols.steps import Send
from tests.parties.programs import slices, small
from tests.parties.whole_program import whole_program
from tests.protocols.contexts import _ot_seeds, _pahe_keys, contexts, tapped

# Everything that Alice may send while slices run, and why it tells Bob nothing.
MASKED = {
    "conv-request": "BFV ciphertexts under Alice's key",
    "slots-request": "BFV ciphertexts under Alice's key",
    "tables": "garbled tables",
    "iknp": "OT columns masked by a PRG",
    "mux": "OT corrections masked by the hash of a row that Bob does not have",
    "cot": "OT corrections masked by the hash of a row that Bob does not have",
    "open": "a number minus a fresh uniform one",
    "output": "the garbler's permute bits of the evaluator's freshly masked share",
}


def run(
    compiled: Compiled,
    image: np.ndarray,
    choices: dict[str, str] | None = None,
    made: Callable[..., Any] = contexts,
    bobs: list[Any] | None = None,
) -> tuple[list[Send], Context, list[PlannedLayer]]:
    """(Alice's messages in order, Alice's contexts, her layers); made: what makes the contexts; bobs: gets Bob's messages."""
    chosen = choose(compiled.program, choices)
    hers, his = plan(compiled.program, chosen), plan(compiled.program, chosen, weights=compiled.weights)
    alice, bob = made(pahe_names(hers))
    kind = compiled.program.input.type
    seen: list[Any] = []
    lockstep(
        tapped(whole_program(alice, hers, Share.of(image.astype(np.uint64), kind)), seen),
        tapped(whole_program(bob, his, Share.of(np.zeros(kind.shape, np.uint64), kind)), [] if bobs is None else bobs),
    )
    return seen, alice, hers


@pytest.mark.parametrize(
    ("architecture", "choices"),
    [({}, {}), ({"activation": "hybrid", "pooling": "max"}, {"relu": "gc"}), ({"activation": "square"}, {"square": "mt-ot"})],
)
def test_every_message_is_of_a_kind_that_hides_its_content(architecture: dict[str, Any], choices: dict[str, str]) -> None:
    compiled = small(16, 2, **architecture)
    (image,) = slices(compiled, 1)
    seen, _, _ = run(compiled, image, choices)
    assert {message.tag for message in seen} <= MASKED.keys() | {"gilboa"}


def test_bytes_of_every_kind_of_message_are_uniform_whatever_the_image() -> None:
    """Chi-square over byte values, on an all-zero and on a bright image. 375 is beyond the 99.9999th percentile of 255
    degrees of freedom. Residues of primes just below a power of two are within 2^-20 of uniform."""
    compiled = small(32, 4, activation="hybrid")
    (bright,) = slices(compiled, 1)
    for image in (np.zeros_like(bright), bright):
        kinds: dict[Any, list[Any]] = defaultdict(list)
        for message in run(compiled, image)[0]:
            kinds[message.tag] += [array.tobytes() for array in message.arrays]
        for tag, parts in kinds.items():
            data = np.frombuffer(b"".join(parts), np.uint8)
            if data.size < 4096:
                continue
            counts = np.bincount(data, minlength=256)
            expected = data.size / 256
            assert ((counts - expected) ** 2 / expected).sum() < 375, tag


def test_requests_decrypt_with_alices_key_and_to_noise_with_any_other() -> None:
    compiled = small(32, 4)
    (image,) = slices(compiled, 1)
    seen, alice, layers = run(compiled, image)
    first = next(planned for planned in layers if planned.node.operation == "conv")
    conv = plan_of(first.layer)
    message = next(m for m in seen if m.tag == "conv-request")
    part = next(conv.request_messages(next(conv.tile_batches())))
    ciphertexts = bfv.open_request(conv.parameters, message.arrays, len(part))
    t = 1 << conv.width
    mine = alice.pahe[conv.set_name]
    plain = conv.tiling.messages(image.astype(np.uint64) & np.uint64(t - 1), part.start, len(part))
    np.testing.assert_array_equal(bfv.decrypt(mine, ciphertexts, t), plain)
    other = SecretKey.generate(conv.parameters, Random())
    wrong = bfv.decrypt(other, ciphertexts, t)
    assert np.mean(wrong == plain) < 0.01
    counts = np.bincount((wrong >> np.uint64(conv.width - 8)).astype(int).ravel(), minlength=256)
    expected = wrong.size / 256
    assert ((counts - expected) ** 2 / expected).sum() < 375


@pytest.mark.parametrize("choices", [{}, {"relu": "gc"}])
def test_messages_hold_nothing_of_the_memory_they_were_written_into(
    choices: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Buffers are lent uninitialised and hold what another session's message held; with all else equal, two fills of them
    must give the same bytes on the wire."""
    compiled = small(16, 2, activation="hybrid", pooling="max")
    (image,) = slices(compiled, 1)

    def filled(value: int) -> list[tuple[str, list[bytes]]]:
        def made(names: tuple[str, str]) -> tuple[Context, Context]:
            roles = zip((Role.ALICE, Role.BOB), _ot_seeds("iknp"), _pahe_keys(names), (b"a" * 32, b"b" * 32), strict=True)
            alice, bob = (Context(role, Random(seed), ot=ot, pahe=key).fork(0, 0) for role, ot, key, seed in roles)
            return alice, bob

        monkeypatch.setattr(buffer_pool, "_free", deque(maxlen=0))
        monkeypatch.setattr(rows, "_POOLED_BYTES", 0)
        monkeypatch.setattr(buffer_pool, "bytearray", buffer(value), raising=False)
        bobs: list[Send] = []
        hers = run(compiled, image, choices, made, bobs)[0]
        return [(m.tag, [array.tobytes() for array in m.arrays]) for m in (*hers, *bobs)]

    def buffer(value: int) -> Callable[..., Any]:
        def make(size: int) -> bytearray:
            lent.append(size)
            return bytearray([value]) * size

        return make

    lent: list[int] = []
    ones, alternating = filled(0xFF), filled(0x55)
    assert len(lent) > 100
    assert [tag for tag, _ in ones] == [tag for tag, _ in alternating]
    assert [tag for (tag, a), (_, b) in zip(ones, alternating, strict=True) if a != b] == []
