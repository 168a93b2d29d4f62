"""Labels of experts: where they are found, and which of their values are inside."""
