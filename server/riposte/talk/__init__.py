"""`riposte talk`: a microphone, a server and a loudspeaker; devices are an extra."""
