"""What decides: metrics with intervals, e-processes, histograms, distances, calibration; numpy alone."""
