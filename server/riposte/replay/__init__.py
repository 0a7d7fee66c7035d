"""`riposte replay`: a recorded talk through the same code, faster than it was."""
