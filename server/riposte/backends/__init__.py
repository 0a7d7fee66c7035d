"""Models behind the four Protocols of riposte.interfaces; each is imported only when chosen."""
