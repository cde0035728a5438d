"""What curvature says about learning rates: formulas over numbers and small matrices, with numpy alone."""
