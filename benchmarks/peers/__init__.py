"""The other tools' ways of doing the same thing."""
