"""Measure a real server from outside: every case is a process of its own and talks as any client does."""
