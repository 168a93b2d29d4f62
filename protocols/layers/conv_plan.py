"""The plan of one convolution layer: its tiling, its parameter set, and the schedule of its messages. All public.

A plan follows from the layer's types and `norm_bits` alone, so both parties derive the same one. Noise is bounded by
facts: a fresh ciphertext errs by at most 21 and half a unit of rounding, adding Bob's share rounds by half a unit more,
and a product with kernels of L1 norm below 2^norm_bits, `bundle` of them in a polynomial, multiplies that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from bunet.models.errors import UsageError
from bunet.protocols.blocks import ranges
from bunet.protocols.context import Role
from bunet.protocols.cost import Cost
from bunet.protocols.kernels.ring.convolve import BLOCK, OUTPUTS
from bunet.protocols.layers.tiling import Image, Tiling, candidates
from bunet.protocols.pahe import bfv, parameters, reply
from bunet.protocols.pahe.encoding import MAX_WIDTH
from bunet.protocols.pahe.parameters import Parameters
from bunet.protocols.registry import Layer
from bunet.protocols.security import DECLARED, Security
from bunet.protocols.steps import ArraySpec

# Sets worth trying, cheapest first: a masked and flooded result of a useful ring needs 94 bits or more.
SETS = ("n4096-q94", "n4096-q100", "n4096-q105", "n8192-q141", "n8192-q188", "n8192-q200")

# The price of a plan in seconds, on one core of the reference machine: what decides between plans, and what both parties
# must hold equal. Not a prediction. Polynomials are counted in units of 4096 coefficients and one prime. The link is taken
# to carry 4 Gbit/s: on slower ones the garbled circuits of a network weigh far more than its convolutions.
_SECONDS_PER_BYTE = 2e-9
_SECONDS_PER_REQUEST = 5e-5  # encrypted, packed, unpacked, Bob's share added
_SECONDS_PER_REPLY = 7e-5  # an encryption of zero, back to coefficients, flooded, switched, packed, opened
_SECONDS_PER_KERNEL = 3.5e-6  # the last levels of its transform
_SECONDS_PER_FLAT_KERNEL = 3e-7  # whose transform is constant over blocks
_SECONDS_PER_TAP = 1e-8
_SECONDS_PER_MULTIPLY_ADD = 1.1e-10

# Limits, in bytes, of one message and of one block of work in memory.
_REQUEST_MESSAGE = 2 << 20
_REPLY_MESSAGE = 2 << 20
_CIPHERTEXT_BLOCK = 24 << 20
_ACCUMULATOR_BLOCK = 16 << 20


class PlanError(UsageError):
    """No parameter set carries this convolution."""


@dataclass(frozen=True)
class Plan:
    """How one convolution of shares in Z_2^width runs.

    image: the convolution, phases of a transposed one counted as output channels. norm_bits: the L1 norm of the weights
    that meet one output is < 2^norm_bits.
    """

    image: Image
    tiling: Tiling
    set_name: str
    width: int
    norm_bits: int
    security: Security = DECLARED

    @cached_property
    def parameters(self) -> Parameters:
        return parameters.get(self.set_name)

    @property
    def noise_bits(self) -> int:
        """The noise of an accumulated product before flooding is below 2^noise_bits."""
        return noise_bound(self.norm_bits, self.tiling.bundle)

    @cached_property
    def reply_limbs(self) -> int:
        """Primes of the small modulus that replies travel in."""
        return len(reply.reply_modulus(self.parameters, self.width, self.noise_bits, self.security).primes)

    @property
    def _polynomial_bytes(self) -> int:
        return 8 * self.parameters.limbs * self.parameters.degree

    def tile_batches(self) -> Iterator[range]:
        """Tiles whose ciphertexts Bob holds at a time."""
        return _ranges(self.tiling.tiles, tiles_at_a_time(self.tiling, self.parameters))

    def request_messages(self, tiles: range) -> Iterator[range]:
        """Requests of each message of a batch, in the order (tile, group)."""
        first = tiles.start * self.tiling.groups
        per_message = _REQUEST_MESSAGE // bfv.request_bytes(self.parameters, 1)
        for part in _ranges(len(tiles) * self.tiling.groups, per_message):
            yield range(first + part.start, first + part.stop)

    def bundle_blocks(self) -> Iterator[range]:
        """Output bundles whose accumulated products Bob holds at a time; the same for every batch of tiles."""
        most_tiles = len(next(iter(self.tile_batches())))
        size = _ACCUMULATOR_BLOCK // (2 * most_tiles * self._polynomial_bytes)
        return _ranges(self.tiling.bundles, max(size - size % OUTPUTS, OUTPUTS))

    def reply_messages(self, tiles: range, bundles: range) -> Iterator[tuple[range, range]]:
        """(tiles, bundles) of each message of a block, the replies in the order (tile, bundle)."""
        per_message = max(1, _REPLY_MESSAGE // self.reply_bytes(1))
        for some in _ranges(len(tiles), per_message // len(bundles)):
            for few in _ranges(len(bundles), per_message):
                yield (
                    range(tiles.start + some.start, tiles.start + some.stop),
                    range(bundles.start + few.start, bundles.start + few.stop),
                )

    def reply_specs(self, count: int) -> tuple[ArraySpec, ...]:
        """dtypes and shapes of the arrays of `count` replies in one message."""
        return reply.reply_specs(self.parameters, count, self.tiling.outputs, self.width, self.noise_bits, self.security)

    def reply_bytes(self, count: int) -> int:
        """Payload bytes of `count` replies in one message."""
        return reply.reply_bytes(self.parameters, count, self.tiling.outputs, self.width, self.noise_bits, self.security)

    @cached_property
    def cost(self) -> Cost:
        """Exact cost: Alice's requests, which wait for nothing, then Bob's replies; see `work_of`."""
        requests, replies = [], [Cost(work=work_of(self.tiling, self.parameters, self.reply_limbs))]
        for tiles in self.tile_batches():
            for part in self.request_messages(tiles):
                requests.append(Cost.flight(Role.ALICE, bfv.request_bytes(self.parameters, len(part))))
            for bundles in self.bundle_blocks():
                for some, few in self.reply_messages(tiles, bundles):
                    replies.append(Cost.flight(Role.BOB, self.reply_bytes(len(some) * len(few))))
        return Cost().beside(*requests).then(Cost().beside(*replies))


def _ranges(count: int, size: int) -> Iterator[range]:
    return ranges(count, max(1, size))


def tiles_at_a_time(tiling: Tiling, params: Parameters) -> int:
    """How many tiles' ciphertexts Bob holds at a time, at most; the kernels' transforms are made for each batch."""
    return max(1, _CIPHERTEXT_BLOCK // (2 * tiling.groups * 8 * params.limbs * params.degree))


def noise_bound(norm_bits: int, bundle: int) -> int:
    """Bits of a bound on the noise of a product with `bundle` kernels of L1 norm below 2^norm_bits each."""
    return bfv.noise_bits(bundle << norm_bits)


def work_of(tiling: Tiling, params: Parameters, reply_limbs: int) -> dict[str, int]:
    """ntt: transforms in units of 4096 coefficients; weight_ntt: those of Bob's weights; multiply_add: modular ones."""
    batches = -(-tiling.tiles // tiles_at_a_time(tiling, params))
    unit = params.degree // 4096
    requests, replies = tiling.tiles * tiling.groups, tiling.tiles * tiling.bundles
    return {
        # request: encrypting, adding Bob's share. reply: the zero's secret, both halves back; opening it.
        "ntt": unit * (2 * params.limbs * requests + (3 * params.limbs + 2 * reply_limbs) * replies),
        "weight_ntt": unit * params.limbs * tiling.groups * tiling.bundles * batches,
        "multiply_add": 2 * params.limbs * params.degree * requests * tiling.bundles,
    }


def _price(tiling: Tiling, params: Parameters, width: int, norm_bits: int, security: Security) -> float:
    modulus = reply.reply_modulus(params, width, noise_bound(norm_bits, tiling.bundle), security)
    requests, replies = tiling.tiles * tiling.groups, tiling.tiles * tiling.bundles
    products = tiling.groups * (-(-tiling.bundles // OUTPUTS) * OUTPUTS)
    kernels = products * -(-tiling.tiles // tiles_at_a_time(tiling, params))
    traffic = requests * params.residue_bits * params.limbs * params.degree
    traffic += replies * modulus.bits * (params.degree + tiling.outputs)
    flat = tiling.image.kernel == 1 and tiling.plane % BLOCK == 0
    taps = tiling.bundle * tiling.group * tiling.image.kernel**2
    work = (
        requests * _SECONDS_PER_REQUEST
        + replies * _SECONDS_PER_REPLY
        + kernels * (_SECONDS_PER_FLAT_KERNEL if flat else _SECONDS_PER_KERNEL)
        + kernels * taps * _SECONDS_PER_TAP
        + products * tiling.tiles * 2 * 4096 * _SECONDS_PER_MULTIPLY_ADD
    )
    return traffic / 8 * _SECONDS_PER_BYTE + work * params.limbs * params.degree / 4096


@lru_cache(maxsize=1024)
def choose(image: Image, width: int, norm_bits: int, security: Security = DECLARED) -> Plan:
    """The cheapest plan; PlanError, with the reason, where no parameter set has room for the noise."""
    best: tuple[float, Plan] | None = None
    for name in SETS if width <= MAX_WIDTH else ():
        params = parameters.get(name)
        noise_limit = reply.max_noise_bits(params, width, security)
        most_bundled = ((1 << noise_limit) - 1) // (bfv.FRESH_NOISE << norm_bits) if noise_limit > 0 else 0
        for tiling in candidates(image, params.degree, most_bundled) if most_bundled else ():
            price = _price(tiling, params, width, norm_bits, security)
            if best is None or price < best[0]:
                best = price, Plan(image, tiling, name, width, norm_bits, security)
    if best is None:
        raise PlanError(
            f"no PAHE parameter set carries a convolution of {width}-bit shares with weights of L1 norm up to "
            f"2^{norm_bits}: {SETS[-1]} has room for norm_bits <= {_room(width, security)} at this width"
        )
    return best[1]


def _room(width: int, security: Security) -> int:
    """Largest norm_bits of the largest set, -1 if there is none."""
    limit = reply.max_noise_bits(parameters.get(SETS[-1]), width, security) if width <= MAX_WIDTH else -1
    return max(limit - bfv.noise_bits(1), -1)


def plan_of(layer: Layer, security: Security = DECLARED) -> Plan:
    """The plan of a conv or conv_transpose layer: the same at both parties."""
    node, (source,) = layer.node, layer.inputs
    channels, height, width = source.shape
    out_channels = node.integer("out_channels")
    if node.operation == "conv":
        image = Image(channels, height, width, out_channels, node.integer("kernel"))
    else:
        image = Image(channels, height, width, 4 * out_channels, 1)
    return choose(image.flat() if image.kernel == 1 else image, source.width, node.integer("norm_bits"), security)
