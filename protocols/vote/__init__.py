"""A vote on shared bits: several labels of each voxel become one mask, and nothing but the mask is opened."""
