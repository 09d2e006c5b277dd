"""Which images to keep: filters, calibration, ranks, combined scores."""
