"""The paper's claims and the numbers to compare with: reference logs are package data, loaded by name."""
