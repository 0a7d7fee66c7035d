"""Hours in minutes: a server under everything that clients do to it, and whether it stays the same size."""
