"""Seeds of made-up volumes that no training has seen."""

TEST_SEEDS = range(3_000_000, 3_001_000)
