"""State that a measurement touched, as it was: models, optimizers, loaders, random states."""
