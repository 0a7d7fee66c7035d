"""What the benches measure beside Riposte: other servers, other runtimes, the same work."""
