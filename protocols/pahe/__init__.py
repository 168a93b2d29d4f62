"""Packed additive homomorphic encryption: BFV, and Paillier behind the same additive interface."""
