"""Entrances: each adapts one protocol to a Session; none has a pipeline of its own."""
