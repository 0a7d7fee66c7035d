"""What a client raises beside the server's own refusals, in sentences that say what to do."""

from __future__ import annotations

from riposte.errors import ClientError, RiposteError
from riposte.wire.frames import Error

_KINDS = {kind.code: kind for kind in ClientError.__subclasses__()}
_CLOSE_CODES = {
    None: "the connection broke; `await client.resume()` goes on with the session",
    1000: "the connection is closed",
    1001: "the server closed it: it is shutting down, or nothing was said for too long",
    1002: "the server speaks another version of the protocol",
    1008: "the server hung up on frames that it cannot read, or on a client that does not read",
    1009: "a message was larger than the server takes",
    4001: "a newer connection took this session over",
}


class CannotConnect(RiposteError):
    """There is no server to talk to, or it refused before the first frame."""


class Closed(RiposteError):
    """The connection is over. `close_code` is the WebSocket's, None when it broke."""

    def __init__(self, close_code: int | None) -> None:
        # Of an unclean end aiohttp says 1006, which no close frame carries.
        close_code = None if close_code == 1006 else close_code
        sentence = _CLOSE_CODES.get(close_code, "the server closed the connection")
        super().__init__(sentence if close_code is None else f"{sentence} (code {close_code})")
        self.close_code = close_code


class TimedOut(RiposteError, TimeoutError):
    """What was waited for did not come in time; the connection stays."""


def error_of(frame: Error) -> ClientError:
    """Return the exception that an `error` frame stands for."""
    return _KINDS.get(frame.code, ClientError)(frame.message)
