"""The cases. Each is `python -m bench.cases.<name>`; its last line on stdout is its report as JSON."""
