"""The small tasks that several measurements share."""
