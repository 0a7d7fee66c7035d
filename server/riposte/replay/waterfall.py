"""A turn's times as a picture in a terminal: what ran while the user still waited, against 200 ms."""

from __future__ import annotations

from collections.abc import Iterable

from riposte.wire import frames as wire

TARGET_MS = 200
COLUMNS = 56  # of the picture; the names and the figures stand before it
_STEPS_MS = (10, 20, 50, 100, 200, 500, 1_000, 2_000)  # between two marks of the scale
_LABELS = {
    "endpoint": "end of turn decided",
    "asr": "words final",
    "llm_first_token": "first token",
    "tts_first_audio": "first sound made",
    "first_audio_sent": "first sound sent",
    "audible": "audible",
    "last_token": "last token",
    "done": "done",
}
# What each stage waits for: its bar begins where the last of these was there.
_NEEDS = {
    "llm_first_token": ("asr",),
    "tts_first_audio": ("llm_first_token",),
    "first_audio_sent": ("endpoint", "tts_first_audio"),
    "audible": ("first_audio_sent",),
    "last_token": ("llm_first_token",),
    "done": ("audible", "last_token"),
}
_LATE = ("last_token", "done")  # of the whole reply: they do not stretch the scale
_ZEROS = {
    "speech": "the last voiced sample",
    "end": "the client's `end`",
    "text": "the text",
}


def waterfalls(frames: Iterable[wire.ServerFrame]) -> list[str]:
    """Return the lines of each turn's picture, in order."""
    lines: list[str] = []
    words: dict[int, str] = {}
    for frame in frames:
        if isinstance(frame, wire.Transcript) and frame.final:
            words[frame.turn] = frame.text
        elif isinstance(frame, wire.Done):
            lines += [*waterfall(frame, words.get(frame.turn, "")), ""]
    return lines


def waterfall(done: wire.Done, words: str = "") -> list[str]:
    """Return one turn's picture: a line a stage, in ms after the turn's zero; the target is a line down."""
    timing = done.timing
    times = {name: getattr(timing, name) for name in _LABELS}
    reached = [(name, ms) for name, ms in times.items() if ms is not None]
    title = f"turn {done.turn}{f' {_short(words)!r}' if words else ''}: {done.reason}"
    if done.heard_ms is not None:
        title += f", {done.heard_ms} ms of sound heard"
    if not reached:
        return [title]
    early = [ms for name, ms in reached if name not in _LATE] or [ms for _, ms in reached]
    scale = _Scale(min(early), max(early))
    lines = [f"{title}; ms after {_ZEROS[timing.clock]}", scale.ruler()]
    for name, ms in reached:
        needed = [at for need in _NEEDS.get(name, ()) if (at := times[need]) is not None]
        lines.append(f"  {_LABELS[name]:19} {ms:9.1f}  {scale.bar(max(needed, default=0.0), ms)}")
    return lines


class _Scale:
    """Milliseconds to columns: from a mark below what came first to one above what came last."""

    def __init__(self, first_ms: float, last_ms: float) -> None:
        low, high = min(0.0, first_ms), max(last_ms, 1.25 * TARGET_MS)
        self._step = next((step for step in _STEPS_MS if (high - low) / step <= COLUMNS / 8), _STEPS_MS[-1])
        self._low = low // self._step * self._step
        # A stage minutes away, behind a tool or a full house, is drawn as an arrow.
        high = min(high, self._low + self._step * COLUMNS / 8)
        self._per_column = (high - self._low) / COLUMNS

    def _column(self, ms: float) -> int:
        return round((ms - self._low) / self._per_column)

    def ruler(self) -> str:
        """Return the line with the marks' figures, each over its column."""
        line = [" "] * (COLUMNS + 8)
        mark = self._low
        while (column := self._column(mark)) <= COLUMNS:
            text = f"{mark:g}"
            line[column : column + len(text)] = text
            mark += self._step
        return f"{'':33}{''.join(line).rstrip()}"

    def bar(self, from_ms: float, ms: float) -> str:
        """Return a bar between two times, across the target's line."""
        begin, end, target = (self._column(at) for at in (min(from_ms, ms), ms, TARGET_MS))
        line = [" "] * (COLUMNS + 1)
        for column in range(max(0, begin), min(COLUMNS, end) + 1):
            line[column] = "="
        if target <= COLUMNS:
            line[target] = "|" if line[target] == " " else "+"
        if end > COLUMNS:
            line[COLUMNS] = ">"
        else:
            line[max(0, end)] = "#"
        return "".join(line).rstrip()


def _short(words: str) -> str:
    return words if len(words) <= 48 else f"{words[:45]}..."
