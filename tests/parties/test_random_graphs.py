"""Random layer graphs, not only networks: in lockstep, and over ZeroMQ through real sessions; every layer verified."""

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bunet.models.compiled import Compiled, load_compiled, save_compiled
from bunet.models.integers import IntegerWeights
from bunet.net import zeromq
from bunet.parties import alice as alice_party
from bunet.parties import bob as bob_party
from bunet.parties.input_slices import InputSlices
from bunet.parties.run_options import RunOptions
from bunet.parties.session.handshake import Request
from bunet.parties.session.run import Hooks
from bunet.parties.store import CompiledStore
from tests.parties.programs import graphs, noise, run, verify

LIMITS: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
PROTOCOLS = {"relu": st.sampled_from(["gc", "gc-sign"]), "square": st.sampled_from(["mt", "mt-ot"])}


@given(
    graphs(),
    st.fixed_dictionaries(PROTOCOLS),
    st.fixed_dictionaries(
        {
            "garbler": st.sampled_from(["alice", "bob"]),
            "ot": st.sampled_from(["iknp", "softspoken-2"]),
        }
    ),
    st.integers(0, 1000),
)
@settings(max_examples=15, **LIMITS)
def test_random_graphs_in_lockstep_equal_the_oracle(
    compiled: Compiled, overrides: dict[str, str], options: dict[str, str], seed: int
) -> None:
    (image,) = noise(compiled, 1, seed)
    verify(compiled, image, *run(compiled, image, overrides, options))


def session(
    compiled: Compiled, images: np.ndarray, in_flight: int, cores: int, overrides: dict[str, str], options: dict[str, str]
) -> tuple[dict[int, dict[str, Any]], dict[int, dict[str, Any]], dict[int, Any]]:
    """Both parties in two threads over ZeroMQ: ({slice: {node: Alice's}}, {slice: {node: Bob's}}, {slice: read-out})."""
    of_alice: dict[int, dict[str, Any]] = {k: {} for k in range(len(images))}
    of_bob: dict[int, dict[str, Any]] = {k: {} for k in range(len(images))}
    results: dict[int, np.ndarray] = {}
    outcome: list[BaseException] = []
    with zeromq.Listener("tcp://127.0.0.1:*") as listener:
        service = bob_party.Service(
            CompiledStore([compiled]),
            RunOptions(cores=cores),
            Hooks(lambda event: None, lambda job, planned, value: of_bob[job.slice].update({planned.node.name: value})),
        )

        def serve() -> None:
            try:
                bob_party.serve(listener, service, once=True)
            except BaseException as error:
                outcome.append(error)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            alice_party.run(
                lambda: zeromq.connect(listener.address),
                Request(
                    images.shape[1:],
                    len(images),
                    RunOptions(in_flight=in_flight, cores=cores, protocols=overrides, settings=options),
                ),
                InputSlices([("z", 5 + k) for k in range(len(images))], lambda program, k: images[k]),
                lambda job, result: results.__setitem__(job.index, result),
                Hooks(lambda event: None, lambda job, planned, value: of_alice[job.slice].update({planned.node.name: value})),
            )
        finally:
            thread.join(60)
    assert not thread.is_alive()
    assert outcome == []
    return of_alice, of_bob, results


@given(graphs(), st.fixed_dictionaries(PROTOCOLS), st.integers(1, 3), st.integers(1, 2), st.integers(0, 1000))
@settings(max_examples=4, **LIMITS)
def test_random_graphs_over_sessions_equal_the_oracle(
    compiled: Compiled, overrides: dict[str, str], in_flight: int, cores: int, seed: int
) -> None:
    images = noise(compiled, 3, seed)
    of_alice, of_bob, results = session(compiled, images, in_flight, cores, overrides, {"ot": "iknp"})
    assert sorted(results) == [5, 6, 7]
    for k, image in enumerate(images):
        verify(compiled, image, of_alice[k], of_bob[k])


@given(compiled=graphs())
@settings(max_examples=15, **LIMITS)
def test_random_graphs_survive_a_file(compiled: Compiled, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("graph") / "graph.model"
    save_compiled(compiled, path)
    again = load_compiled(path)
    assert again.program == compiled.program
    for name, layer in compiled.weights.items():
        assert (again.weights[name].weight == layer.weight).all()
        assert (again.weights[name].bias == layer.bias).all()


@given(graphs().filter(lambda compiled: compiled.weights), st.data())
@settings(max_examples=3, **LIMITS)
def test_a_run_with_another_weight_is_noticed(compiled: Compiled, data: st.DataObject) -> None:
    """The check itself can fail: one unit more in one bias is seen."""
    name = data.draw(st.sampled_from(sorted(compiled.weights)))
    (image,) = noise(compiled, 1)
    layer = compiled.weights[name]
    other = Compiled(compiled.program, {**compiled.weights, name: IntegerWeights(layer.weight, layer.bias + 1)})
    seen = run(other, image)
    verify(other, image, *seen)
    with pytest.raises(AssertionError, match=name):
        verify(compiled, image, *seen)
