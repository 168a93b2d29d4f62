"""The vote of slices along several axes, on shares."""
