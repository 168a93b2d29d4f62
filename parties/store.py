"""The programs that Bob serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bunet.models.compile import Compiled
from bunet.models.program import Program
from bunet.parties.errors import RunError
from bunet.protocols.registry import LayerWeights


class CompiledStore:
    """Serves compiled models as they are; a request picks one by slice shape, format and read-out."""

    def __init__(self, models: Sequence[Compiled]) -> None:
        if not models:
            raise ValueError("a store needs at least one model")
        self._models = list(models)

    def program(self, shape: tuple[int, int, int], format: str | None, readout: str | None) -> Program:
        for model in self._models:
            program = model.program
            if (
                program.input.type.shape == shape
                and format in (None, str(program.format))
                and readout in (None, program.output.attributes["kind"])
            ):
                return program
        served = "; ".join(_describe(model.program) for model in self._models)
        wanted = f"{shape[0]}x{shape[1]}x{shape[2]} slices"
        wanted += f", format {format}" if format else ""
        wanted += f", read-out {readout}" if readout else ""
        raise RunError(f"Bob does not serve {wanted}; he serves {served}")

    def weights(self, program: Program) -> Mapping[str, LayerWeights]:
        for model in self._models:
            if model.program is program:
                return {name: LayerWeights(w.weight, w.bias) for name, w in model.weights.items()}
        raise RunError("no weights for this program")


def _describe(program: Program) -> str:
    channels, height, width = program.input.type.shape
    return f"{channels}x{height}x{width}, format {program.format}, read-out {program.output.attributes['kind']}"
