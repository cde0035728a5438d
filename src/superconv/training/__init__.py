"""Training: one loop, its state, its evaluation, its optimizers and precision."""
