"""Arrays in, conclusions out: smoothing, suggestions, verdicts and comparisons, with numpy alone."""
