"""CT volumes: files, slices, synthesis."""
