"""The command line program: one file a verb; each parses, calls the library once, and prints."""
