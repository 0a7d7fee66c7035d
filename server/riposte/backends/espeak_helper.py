"""A process that speaks with espeak-ng; `tts_espeak` starts it and talks to it over two pipes.

espeak-ng is GPLv3: its library is loaded here and nowhere else, and what passes is text and sound.
The process is run by path with `python -I -S`, and imports the standard library alone: it is up in a
few tens of milliseconds and holds some 15 MB.

Every message is a header (kind u8, request u32, length u32, little-endian) and `length` bytes. In: SAY
(voice, NUL, text, UTF-8) and CANCEL (no bytes). Out: READY once (rate u32), then for each SAY any
number of SOUND (s16 mono, native order) and one DONE or FAILED (a sentence). Requests are numbered
upwards in the order in which they are sent; CANCEL stops its request and every one before it. The process
ends when stdin does.
"""

from __future__ import annotations

import ctypes
import os
import queue
import signal
import struct
import sys
import threading

HEADER = struct.Struct("<BII")
SAY, CANCEL = 1, 2
READY, SOUND, DONE, FAILED = 1, 2, 3, 4

_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: espeak_Synth returns when all is spoken
_BUFFER_MS = 30  # a callback's sound; the first comes after 0.2 ms, so smaller gains nothing
_DONT_EXIT = 0x8000  # a library that calls exit() on missing data could not say so
_UTF8 = 1  # espeakCHARS_UTF8, and not espeakSSML: < and & are characters like others
_AT_CHARACTER = 1
_SYNTH_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class Helper:
    """One library, one request at a time; a second thread reads stdin so that CANCEL is seen meanwhile."""

    def __init__(self, library: str, stdin: int, stdout: int) -> None:
        self._stdin = stdin
        self._stdout = stdout
        self._said: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()
        self._cancelled = 0  # requests up to this one
        self._request = 0  # the one being spoken
        self._espeak = ctypes.CDLL(library)
        # Relative to the working directory: espeak-ng cuts a path of 160 bytes and more without a word.
        rate_hz = self._espeak.espeak_Initialize(_SYNCHRONOUS, _BUFFER_MS, b".", _DONT_EXIT)
        if rate_hz <= 0:
            raise OSError("espeak-ng cannot read its data")
        self._callback = _SYNTH_CALLBACK(self._sound)  # kept: C holds no reference
        self._espeak.espeak_SetSynthCallback(self._callback)
        self._espeak.espeak_Synth.argtypes = [
            ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int,
            ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p,
        ]  # fmt: skip
        send(stdout, READY, 0, struct.pack("<I", rate_hz))

    def serve(self) -> None:
        """Speak what stdin asks for, until it ends."""
        threading.Thread(target=self._listen, name="stdin", daemon=True).start()
        while True:
            self._request, asked = self._said.get()
            voice, _, text = asked.partition(b"\0")
            if self._request > self._cancelled and not self._speak(voice, text):
                send(self._stdout, FAILED, self._request, b"espeak-ng cannot speak this")
            else:
                send(self._stdout, DONE, self._request, b"")

    def _speak(self, voice: bytes, text: bytes) -> bool:
        # espeak-ng keeps the voice before when it does not know this one, so the status matters.
        if self._espeak.espeak_SetVoiceByName(voice) != 0:
            return False
        status = self._espeak.espeak_Synth(text, len(text) + 1, 0, _AT_CHARACTER, 0, _UTF8, None, None)
        return bool(status == 0)

    def _sound(self, pcm: ctypes._Pointer[ctypes.c_short], samples: int, events: int | None) -> int:
        """Pass sound on as it is made; 1 stops espeak-ng in mid-clause."""
        if self._request <= self._cancelled:
            return 1
        if pcm and samples > 0:
            send(self._stdout, SOUND, self._request, ctypes.string_at(pcm, samples * 2))
        return 0

    def _listen(self) -> None:
        while True:
            kind, request, length = HEADER.unpack(receive(self._stdin, HEADER.size))
            asked = receive(self._stdin, length)
            if kind == CANCEL:
                self._cancelled = max(self._cancelled, request)
            else:
                self._said.put((request, asked))


def send(fd: int, kind: int, request: int, content: bytes) -> None:
    """Write one whole message; ends the process when nobody reads any more."""
    left = memoryview(HEADER.pack(kind, request, len(content)) + content)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except OSError:
            os._exit(0)


def receive(fd: int, size: int) -> bytes:
    """Read exactly `size` bytes; ends the process when stdin has ended, which is how the parent says so."""
    content = b""
    while len(content) < size:
        piece = os.read(fd, size - len(content))
        if not piece:
            os._exit(0)
        content += piece
    return content


def main(library: str) -> None:
    """Load the library beside whose data the process was started, and serve until stdin ends."""
    # Ctrl-C and a supervisor's SIGTERM reach the whole group, but a reply may have to be finished:
    # the parent ends this process by closing stdin.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    stdout = os.dup(1)
    os.dup2(2, 1)  # what a library prints must not land among the messages
    try:
        helper = Helper(library, 0, stdout)
    except (OSError, AttributeError) as exc:
        send(stdout, FAILED, 0, str(exc).encode(errors="replace"))
        return
    helper.serve()


if __name__ == "__main__":
    main(sys.argv[1])
