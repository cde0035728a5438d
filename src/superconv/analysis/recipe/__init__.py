"""From what short trainings have shown to settings for a long one: which probe next, and what follows. Pure."""
