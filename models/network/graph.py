"""The float network as a list of operations, the common ground of the float reference, calibration and compilation."""

from __future__ import annotations

from dataclasses import dataclass

from bunet.models.network.architecture import Architecture, Block


@dataclass(frozen=True)
class FloatNode:
    """One operation of the float network.

    operation: input, conv, conv_transpose, relu, square, avgpool (a true mean here), maxpool or concat.
    level: the image is (height >> level, width >> level). parameter, norm: names of the convolution and of the batch
    norm after it in the weight file, empty where there is none.
    """

    name: str
    operation: str
    inputs: tuple[str, ...]
    channels: int
    level: int
    kernel: int = 0
    parameter: str = ""
    norm: str = ""


def lower(architecture: Architecture) -> tuple[FloatNode, ...]:
    """The network's operations in the order of execution; the last one gives the logits."""
    nodes = [FloatNode("input", "input", (), architecture.in_channels, 0)]
    blocks = {block.name: block for block in architecture.blocks()}
    skips: dict[int, str] = {}
    for level in range(architecture.depth):
        name = f"encoder{level + 1}"
        _double_convolution(nodes, blocks[name])
        skips[level] = nodes[-1].name
        operation = f"{architecture.pooling}pool"
        nodes.append(FloatNode(f"{name}.pool", operation, (nodes[-1].name,), nodes[-1].channels, level + 1))
    _double_convolution(nodes, blocks["bottleneck"])
    for up in architecture.upconvs():
        inputs = (nodes[-1].name,)
        nodes.append(FloatNode(up.name, "conv_transpose", inputs, up.out_channels, up.level, 2, up.name))
        block = blocks[f"decoder{up.level + 1}"]
        both = (up.name, skips[up.level])
        nodes.append(FloatNode(f"{block.name}.concat", "concat", both, block.in_channels, up.level))
        _double_convolution(nodes, block)
    nodes.append(FloatNode("conv", "conv", (nodes[-1].name,), architecture.out_channels, 0, 1, "conv"))
    return tuple(nodes)


def _double_convolution(nodes: list[FloatNode], block: Block) -> None:
    channels, level = block.out_channels, block.level
    for index, (conv, norm) in enumerate(block.layers(), start=1):
        name = f"{block.name}.conv{index}"
        nodes.append(FloatNode(name, "conv", (nodes[-1].name,), channels, level, 3, conv, norm))
        nodes.append(FloatNode(f"{block.name}.{block.activation}{index}", block.activation, (name,), channels, level))
