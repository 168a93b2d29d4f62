"""What the values of a volume say: how they become the network's, and what is wrong with them."""
