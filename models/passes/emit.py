"""Write the typed program down: the float graph with the truncations and extensions that its plan of widths asks for.

An operand is extended once, to the widest ring that any of its consumers computes in; the others take the low bits,
which is local and exact. So the encoder's output is extended for the skip connection, and average pooling sums four of
the extended values for nothing; max pooling compares in the narrow ring, and its quarter of the elements is extended.
"""

from __future__ import annotations

from collections.abc import Mapping

from bunet.models.network.graph import FloatNode
from bunet.models.passes.widths import Plan
from bunet.models.program import LABELS, Format, Node, Program, TensorType

LABEL_TYPE_WIDTH = 2


def emit(graph: tuple[FloatNode, ...], plan: Plan, format: Format, height: int, width: int, readout: str) -> Program:
    """The program for slices of (height, width). Node names are those of the float graph, with a suffix for what is
    between (`.truncate`, `.extend`, `.reduce`)."""
    emitter = _Emitter(plan, height, width)
    for node in graph:
        emitter.emit(node)
    emitter.readout(graph[-1].name, readout)
    return Program(format, tuple(emitter.nodes.values()))


class _Emitter:
    def __init__(self, plan: Plan, height: int, width: int) -> None:
        self.plan = plan
        self.size = (height, width)
        self.nodes: dict[str, Node] = {}
        self.forms: dict[str, dict[int, str]] = {}

    def emit(self, node: FloatNode) -> None:
        """Append the node and what turns its result into the stored operand in the rings asked for."""
        name, plan = node.name, self.plan
        height, width = self.size
        shape = (node.channels, height >> node.level, width >> node.level)
        if node.operation == "input":
            tensor = TensorType(shape, plan.width[name], plan.frac[name], plan.bound[name])
            self._add(node, (), tensor, {"calibrated": plan.calibrated(name)})
        elif node.operation in ("conv", "conv_transpose"):
            self._convolution(node, shape)
        elif node.operation == "square":
            self._square(node, shape)
        elif node.operation in ("relu", "maxpool"):
            tensor = TensorType(shape, plan.width[name], plan.frac[name], plan.bound[name])
            self._add(node, (self._form(node.inputs[0], plan.width[name]),), tensor)
        else:
            ring = plan.ring[name]
            inputs = tuple(self._form(source, ring) for source in node.inputs)
            self._add(node, inputs, TensorType(shape, ring, plan.frac[name], plan.bound[name]))
        self._extend(name)

    def readout(self, source: str, readout: str) -> None:
        last = self.nodes[source].type
        if readout in LABELS:
            last = TensorType((1, *last.shape[1:]), LABEL_TYPE_WIDTH, 0, 1)
        self.nodes["readout"] = Node("readout", "readout", (source,), last, {"kind": readout})

    def _convolution(self, node: FloatNode, shape: tuple[int, int, int]) -> None:
        name, plan = node.name, self.plan
        ring, source, norm = plan.ring[name], node.inputs[0], plan.weights[name].norm
        attributes = {"out_channels": node.channels, "kernel": node.kernel, "norm_bits": norm.bit_length()}
        if node.operation == "conv_transpose":
            attributes["stride"] = 2
        frac = plan.frac[name] + plan.shift.get(name, 0)
        tensor = TensorType(shape, ring, frac, min(plan.raw_bound[name], ring - 1))
        self._add(node, (self._form(source, ring),), tensor, attributes)
        if name in plan.shift:
            self._truncate(name, tensor)

    def _square(self, node: FloatNode, shape: tuple[int, int, int]) -> None:
        name, plan = node.name, self.plan
        ring = plan.ring[name]
        tensor = TensorType(shape, ring, plan.frac[name] + plan.shift[name], min(plan.raw_bound[name], ring - 1))
        self._add(node, (self._form(node.inputs[0], ring),), tensor)
        self._truncate(name, tensor)

    def _truncate(self, name: str, raw: TensorType) -> None:
        plan = self.plan
        if plan.shift[name] == 0 and raw.width == plan.width[name]:
            return
        tensor = TensorType(raw.shape, plan.width[name], plan.frac[name], plan.bound[name])
        added = self._append(f"{name}.truncate", "truncate", (name,), tensor, {"shift": plan.shift[name]})
        self.forms[name] = {tensor.width: added}

    def _extend(self, name: str) -> None:
        """The widest form that any consumer wants, if the stored one is narrower."""
        ((width, stored),) = self.forms[name].items()
        ring = self.plan.wide_ring(name)
        if ring > width:
            tensor = self.nodes[stored].type
            wide = TensorType(tensor.shape, ring, tensor.frac, tensor.bound)
            self.forms[name][ring] = self._append(f"{name}.extend", "extend", (stored,), wide)

    def _form(self, name: str, ring: int) -> str:
        """The program node that holds this float node's result in the given ring."""
        forms = self.forms[name]
        if ring not in forms:
            widest = forms[max(forms)]
            tensor = self.nodes[widest].type
            narrow = TensorType(tensor.shape, ring, tensor.frac, tensor.bound)
            forms[ring] = self._append(f"{name}.reduce", "truncate", (widest,), narrow, {"shift": 0})
        return forms[ring]

    def _add(
        self, node: FloatNode, inputs: tuple[str, ...], tensor: TensorType, attributes: Mapping[str, int] | None = None
    ) -> None:
        self.forms[node.name] = {tensor.width: self._append(node.name, node.operation, inputs, tensor, attributes)}

    def _append(
        self,
        name: str,
        operation: str,
        inputs: tuple[str, ...],
        tensor: TensorType,
        attributes: Mapping[str, int] | None = None,
    ) -> str:
        self.nodes[name] = Node(name, operation, inputs, tensor, dict(attributes or {}))
        return name
