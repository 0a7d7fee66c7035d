"""The life of a turn: who speaks, when it ends, what is said and what was heard of it."""
