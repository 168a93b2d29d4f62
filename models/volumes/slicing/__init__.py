"""From a volume's voxels to a network's pixels and back: axes, neighbours, field of view, resampling."""
