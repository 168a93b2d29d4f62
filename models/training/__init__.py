"""Training of the U-Net on CT volumes; needs torch."""
