"""The processor under the kernels: tiers, instructions, memory, clocks, and checks of arguments."""
