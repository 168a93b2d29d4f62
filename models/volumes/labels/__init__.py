"""Labels of experts and the names of structures: which values are inside, and what they are called."""
