"""Whisper checkpoints (OpenAI's, distilled ones, pico's hearing) to the two graphs that Riposte serves."""
