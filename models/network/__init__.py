"""The U-Net as floats: its shape, its weights, its graph, and what it computes."""
