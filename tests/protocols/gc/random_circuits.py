"""Random circuits for property tests."""

from hypothesis import strategies as st

from bunet.protocols.gc.builder import CircuitBuilder
from bunet.protocols.gc.circuit import Circuit


@st.composite
def circuits(draw: st.DrawFn) -> Circuit:
    """A circuit over up to three words each, with constants, complements, repeated and cancelling operands."""
    builder = CircuitBuilder()
    widths = st.lists(st.integers(1, 6), min_size=0, max_size=3)
    garbler, evaluator = draw(widths), draw(widths)
    if not garbler and not evaluator:
        garbler = [2]
    wires = [builder.constant(0), builder.constant(1)]
    for width in garbler:
        wires += builder.garbler_word(width)
    for width in evaluator:
        wires += builder.evaluator_word(width)
    for operation, i, j in draw(
        st.lists(st.tuples(st.sampled_from("xxano"), st.integers(0, 999), st.integers(0, 999)), max_size=40)
    ):
        a, b = wires[i % len(wires)], wires[j % len(wires)]
        wires.append(
            {"x": builder.xor, "a": builder.and_, "o": builder.or_}[operation](a, b) if operation != "n" else builder.not_(a)
        )
    for _ in range(draw(st.integers(1, 3))):
        chosen = draw(st.lists(st.integers(0, 999), min_size=1, max_size=8))
        builder.output_word([wires[-1 - i % len(wires)] for i in chosen])
    return builder.build()
