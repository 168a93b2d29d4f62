"""From float weights to the integer program: types, closeness to the float network, files and refusals."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from bunet.models import compiled as compiled_models
from bunet.models import oracle
from bunet.models.commitment import commit
from bunet.models.compiled import Compiled, CompileError, load_compiled, quantise_input, save_compiled
from bunet.models.errors import UsageError
from bunet.models.metrics import agreement
from bunet.models.model_card import ModelCard
from bunet.models.network.architecture import Architecture, ArchitectureError
from bunet.models.network.fold import fold
from bunet.models.network.graph import lower
from bunet.models.network.reference import FloatModel
from bunet.models.network.seeded import seeded_slice, seeded_weights
from bunet.models.network.weights import FloatWeights
from bunet.models.passes.calibrate import calibrate, checked_ranges
from bunet.models.passes.compile import compile_model
from bunet.models.program import Program, ProgramError

SMALL = Architecture(features=4, in_channels=5, depth=3)
CARD = ModelCard("lung", "y", "small", "2", 32, "as-is")


def slices_of(architecture: Architecture, size: int = 32, count: int = 4) -> list[np.ndarray]:
    return [seeded_slice(architecture, size, size, 100 + k) for k in range(count)]


def compiled(
    architecture: Architecture, format: str = "8.4", size: int = 32, readout: str = "argmax", seed: int = 0
) -> tuple[Compiled, FloatWeights]:
    model = seeded_weights(architecture, seed)
    return compile_model(model, size, size, format, slices_of(architecture), readout), model


@pytest.mark.parametrize("format", ["8.4", "12.4", "8.8", "4.4", "16.8"])
@pytest.mark.parametrize("pooling", ["avg", "max"])
@pytest.mark.parametrize("activation", ["relu", "square", "hybrid", "relu,square,relu,square"])
def test_every_option_type_checks_and_stays_within_its_bounds(format: str, pooling: str, activation: str) -> None:
    architecture = dataclasses.replace(SMALL, activation=activation, pooling=pooling)
    result, _ = compiled(architecture, format)
    image = quantise_input(result.program, slices_of(architecture)[0])
    rounding = np.random.default_rng(1)
    every = oracle.run(result.program, result.weights, image, rounding, [node.name for node in result.program])
    for node in result.program:
        assert np.abs(every[node.name]).max() < 1 << node.type.bound, node.name
        if node.operation != "input":
            inputs = tuple(every[name] for name in node.inputs)
            width = result.program.input_types(node)[0].width
            assert oracle.agrees(node, result.weights.get(node.name), inputs, every[node.name], width)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (48, 32), (64, 96), (128, 128)])
@pytest.mark.parametrize("depth", [2, 4])
def test_sizes_and_depths(height: int, width: int, depth: int) -> None:
    architecture = Architecture(features=2, depth=depth)
    model = seeded_weights(architecture)
    program = compile_model(model, height, width, "8.4", slices_of(architecture)).program
    assert program.input.type.shape == (5, height, width)
    assert program.output.type.shape == (1, height, width)
    assert program["conv"].type.shape == (2, height, width)
    assert program["bottleneck.conv1"].type.shape == (2 << depth, height >> depth, width >> depth)


def test_comparisons_are_paid_in_the_format_s_bits() -> None:
    """ReLU rings of the two highest-resolution levels have at most i + f bits, deeper ones at most one more."""
    for format, bits in (("8.4", 12), ("12.4", 16), ("8.8", 16)):
        for pooling in ("avg", "max"):
            program = compiled(dataclasses.replace(SMALL, pooling=pooling), format)[0].program
            for node in program:
                if node.operation in ("relu", "maxpool"):
                    deep = not node.name.startswith(("encoder1", "encoder2", "decoder1", "decoder2"))
                    assert node.type.width <= bits + (1 if deep else 0)
            for name, layer in compiled(SMALL, format)[0].weights.items():
                assert np.abs(layer.weight).max() < 1 << (bits - 1), name


def test_each_operand_is_extended_once() -> None:
    """The encoder's output serves pooling and skip by one extension; max pooling works on the narrow ring."""
    average = compiled(SMALL)[0].program
    extends = [node.name for node in average if node.operation == "extend"]
    assert len(extends) == len(set(extends)) == 2 * (2 * SMALL.depth + 1) + SMALL.depth
    assert average["encoder1.pool"].type.width > average["encoder1.relu2"].type.width
    largest = compiled(dataclasses.replace(SMALL, pooling="max"))[0].program
    assert largest["encoder1.pool"].inputs == ("encoder1.relu2",)
    assert largest["encoder1.pool.extend"].inputs == ("encoder1.pool",)


@pytest.mark.parametrize("activation", ["relu", "hybrid"])
def test_more_bits_come_closer_to_the_float_network(activation: str) -> None:
    architecture = dataclasses.replace(SMALL, activation=activation)
    errors, scores = {}, {}
    for format in ("4.4", "8.4", "12.4", "8.8", "12.8"):
        result, model = compiled(architecture, format, readout="logits")
        float_model = FloatModel(model)
        deviations, masks = [], []
        for image in slices_of(architecture, count=3):
            last = oracle.run(result.program, result.weights, quantise_input(result.program, image))["readout"]
            logits = float_model.logits(image)
            deviations.append(np.abs(np.ldexp(last, -result.program["conv"].type.frac) - logits).mean() / logits.std())
            masks.append(agreement(last[1] > last[0], float_model.label(image)).dice)
        errors[format], scores[format] = np.mean(deviations), np.mean(masks)
    assert errors["4.4"] > 2 * errors["8.4"] > 8 * errors["12.4"]
    assert errors["12.4"] > errors["8.8"] > 4 * errors["12.8"]
    assert scores["8.4"] > 0.95
    assert scores["12.4"] > 0.99
    assert scores["8.8"] > 0.99


def test_12_4_keeps_more_range_and_8_8_a_finer_grid() -> None:
    coarse, fine = compiled(SMALL, "12.4")[0].program, compiled(SMALL, "8.8")[0].program
    assert coarse.digest() != fine.digest()
    assert fine["encoder1.relu1"].type.frac == coarse["encoder1.relu1"].type.frac + 1


def test_channels_that_are_dead_or_large_compile() -> None:
    model = seeded_weights(SMALL)
    tensors = {name: tensor.copy() for name, tensor in model.tensors.items()}
    tensors["encoder2.enc2conv1.weight"][:] = 0
    tensors["encoder1.enc1norm2.weight"][:] = 100
    tensors["decoder1.dec1norm1.bias"][:] = -50
    tensors["upconv1.weight"][:] *= 2.0**-20
    changed = FloatWeights(SMALL, tensors)
    image = slices_of(SMALL)[0]
    result = compile_model(changed, 32, 32, "8.4", [image])
    every = oracle.run(
        result.program, result.weights, quantise_input(result.program, image), keep=[n.name for n in result.program]
    )
    assert all(np.abs(every[node.name]).max() < 1 << node.type.bound for node in result.program)


def test_inputs_are_rounded_and_saturate() -> None:
    program = compiled(SMALL)[0].program
    kind = program.input.type
    image = np.zeros(kind.shape, dtype=np.float32)
    image[0, 0, :4] = [1e9, -1e9, 0.5, -0.5]
    limit = (1 << kind.bound) - 1
    half = 1 << (kind.frac - 1)
    assert quantise_input(program, image)[0, 0, :4].tolist() == [limit, -limit, half, -half]
    with pytest.raises(UsageError, match="shape"):
        quantise_input(program, image[:, :16])
    image[0, 0, 0] = np.nan
    with pytest.raises(UsageError, match="not finite"):
        quantise_input(program, image)


def test_a_file_gives_back_program_and_weights(tmp_path: Path) -> None:
    result, _ = compiled(SMALL)
    path = tmp_path / "model.safetensors"
    save_compiled(result, path)
    loaded = load_compiled(path)
    assert loaded.program == result.program
    assert loaded.program.digest() == result.program.digest()
    for name, layer in result.weights.items():
        for part in ("weight", "bias"):
            assert getattr(loaded.weights[name], part).dtype == np.int64
            np.testing.assert_array_equal(getattr(loaded.weights[name], part), getattr(layer, part))


def test_a_file_gives_back_card_and_salt(tmp_path: Path) -> None:
    result, path = compiled(SMALL)[0], tmp_path / "model.safetensors"
    named = dataclasses.replace(result, card=CARD, salt=bytes(range(32)))
    save_compiled(named, path)
    again = load_compiled(path)
    assert (again.card, again.salt, again.commitment) == (CARD, bytes(range(32)), commit(bytes(range(32)), result.weights))
    save_compiled(result, path)
    again = load_compiled(path)
    assert (again.card, again.salt, again.commitment) == (None, None, None)
    assert "salt" not in repr(named), "a secret"
    with pytest.raises(CompileError, match="31 bytes"):
        dataclasses.replace(result, salt=bytes(31))


def test_a_file_that_does_not_say_what_it_is_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named, path = dataclasses.replace(compiled(SMALL)[0], card=CARD, salt=bytes(32)), tmp_path / "model.safetensors"
    good: dict[str, Any] = {"card": CARD.to_document(), "salt": "00" * 32}
    for text, message in (
        ("", "which model it is"),
        ("[" * 100_000, "which model it is"),
        ("{}", "which model it is"),
        ("7", "which model it is"),
        (json.dumps({**good, "salt": 7}), "which model it is"),
        (json.dumps({**good, "salt": "00"}), "1 bytes, not 32"),
        (json.dumps({**good, "card": {**good["card"], "axis": "w"}}), "axis 'w'"),
    ):
        monkeypatch.setattr(compiled_models, "_identity_text", lambda result, text=text: text)
        save_compiled(named, path)
        with pytest.raises(CompileError, match=rf"model\.safetensors is not a compiled model of this version: .*{message}"):
            load_compiled(path)


def test_files_of_earlier_versions_are_refused_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named, path = dataclasses.replace(compiled(SMALL)[0], card=CARD, salt=bytes(32)), tmp_path / "model.safetensors"
    old = named.program.to_json().replace('"version":2', '"version":1')
    save_file({"a": np.zeros(1)}, path, metadata={"kind": "bunet-compiled-1", "program": old})
    with pytest.raises(CompileError, match=r"model\.safetensors"):
        load_compiled(path)
    monkeypatch.setattr(Program, "to_json", lambda program: old)
    save_compiled(named, path)
    with pytest.raises(CompileError, match="of this version: program version 1 is not 2"):
        load_compiled(path)


def test_the_program_says_what_it_was_calibrated_on() -> None:
    """In units of the input's grid, rounded up: the largest value of the calibration is just within."""
    for largest in (1.0, 0.7, 200.0):
        images = [image * np.float32(largest / np.abs(slices_of(SMALL)).max()) for image in slices_of(SMALL)]
        program = compile_model(seeded_weights(SMALL), 32, 32, "8.4", images).program
        numbers = [quantise_input(program, image) for image in images]
        assert program.calibrated == np.ceil(np.ldexp(np.abs(images).max(), program.input.type.frac))
        assert np.abs(numbers).max() <= program.calibrated < 1 << program.input.type.bound


def test_numbers_beyond_64_bits_are_refused() -> None:
    model = seeded_weights(SMALL)
    tensors = {**model.tensors, "conv.bias": np.full(2, 2.0**22, np.float32)}
    with pytest.raises(ProgramError, match="conv: its bias does not fit 64-bit rings"):
        compile_model(FloatWeights(SMALL, tensors), 32, 32, "12.12", slices_of(SMALL))


def test_compilation_is_reproducible() -> None:
    assert compiled(SMALL)[0].program == compiled(SMALL)[0].program


def test_ranges_that_were_measured_before_give_the_same_program() -> None:
    result, model = compiled(SMALL)
    graph = lower(SMALL)
    ranges = calibrate(graph, fold(graph, model.tensors), slices_of(SMALL))
    again = compile_model(model, 32, 32, "8.4", ranges)
    assert again.program == result.program
    assert all(np.array_equal(again.weights[name].weight, layer.weight) for name, layer in result.weights.items())
    wider = compile_model(model, 32, 32, "8.4", {name: 4 * value for name, value in ranges.items()})
    assert wider.program["encoder1.relu1"].type.frac == result.program["encoder1.relu1"].type.frac - 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.pop("conv"), "lack node 'conv'"),
        (lambda r: r.update(other=1.0), "have node 'other'"),
        (lambda r: r.update(conv=float("nan")), "node 'conv' is nan"),
        (lambda r: r.update(conv=float("inf")), "node 'conv' is inf"),
        (lambda r: r.update(conv=-1.0), "node 'conv' is -1.0"),
        (lambda r: r.update(conv="1"), "node 'conv' is '1'"),
    ],
)
def test_ranges_that_do_not_fit_are_refused(change: Callable[..., Any], message: str) -> None:
    model = seeded_weights(SMALL)
    graph = lower(SMALL)
    ranges = dict.fromkeys((node.name for node in graph), 1.0)
    compile_model(model, 32, 32, "8.4", ranges)
    change(ranges)
    with pytest.raises(UsageError, match=message):
        compile_model(model, 32, 32, "8.4", ranges)
    with pytest.raises(UsageError, match="not a table"):
        checked_ranges(graph, [1.0])


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    result, _ = compiled(SMALL)
    path = tmp_path / "model.safetensors"
    with pytest.raises(CompileError):
        load_compiled(path)
    path.write_bytes(b"\x00" * 64)
    with pytest.raises(CompileError, match=r"model\.safetensors"):
        load_compiled(path)
    changes: tuple[tuple[Callable[[Any], object], str], ...] = (
        (lambda w: w.pop("conv"), "no weights for 'conv'"),
        (lambda w: w.update(other=w["conv"]), "'other'"),
        (lambda w: w.update(conv=w["upconv1"]), "shape"),
        (lambda w: w.update(conv=dataclasses.replace(w["conv"], weight=w["conv"].weight * 4)), "norm"),
    )
    for change, message in changes:
        layers = dict(result.weights)
        change(layers)
        with pytest.raises(CompileError, match=message):
            Compiled(result.program, layers)


def test_wrong_arguments_are_refused() -> None:
    model = seeded_weights(SMALL)
    good = slices_of(SMALL)
    for arguments, error in (
        ((model, 30, 32, "8.4", good), ArchitectureError),
        ((model, 8192, 32, "8.4", good), CompileError),
        ((model, 32, 32, "eight", good), ProgramError),
        ((model, 32, 32, "8.4", []), UsageError),
        ((model, 32, 32, "8.4", good, "mask"), CompileError),
        ((seeded_weights(dataclasses.replace(SMALL, out_channels=3)), 32, 32, "8.4", good), CompileError),
    ):
        with pytest.raises(error):
            compile_model(*arguments)


def test_compiling_needs_no_torch() -> None:
    import subprocess
    import sys

    modules = "bunet.models.passes.compile, bunet.models.oracle, bunet.models.network.reference"
    text = f"import sys, {modules}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", text], check=True)
