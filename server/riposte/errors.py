"""What can go wrong, in words for a person and a code for a program.

    RiposteError
    ├── ConfigError          bad configuration: the command ends with status 2
    ├── ModelError           a model is missing, damaged or does not fit: status 3
    └── ClientError          the client's doing, or its business; goes out as an `error` frame
        ├── BadFrame         bad_frame
        ├── BadValue         bad_value
        ├── UnknownVoice     unknown_voice
        ├── Unavailable      unavailable
        ├── UnsupportedVersion  unsupported_version
        ├── NoHello          no_hello
        ├── Busy             busy
        ├── TooLarge         too_large
        ├── RateLimited      rate_limited
        ├── UnknownSession   unknown_session
        ├── SlowClient       slow_client
        ├── Idle             idle
        ├── EngineError      engine
        └── Draining         draining

An exception's text is public: it never carries a path, a trace or what a user said.
"""

from __future__ import annotations

from typing import ClassVar


class RiposteError(Exception):
    """Base of every exception that Riposte raises on purpose."""


class ConfigError(RiposteError):
    """The configuration cannot be used; the text names the setting, where it came from and what fits."""


class ModelError(RiposteError):
    """A model is missing, damaged or made for another machine; the text says what to run."""


class ClientError(RiposteError):
    """Something a client is told in an `error` frame, or in an HTTP error body."""

    code: ClassVar[str] = "internal"
    http_status: ClassVar[int] = 400


class BadFrame(ClientError):
    code = "bad_frame"


class BadValue(ClientError):
    code = "bad_value"


class UnknownVoice(ClientError):
    code = "unknown_voice"


class Unavailable(ClientError):
    code = "unavailable"


class UnsupportedVersion(ClientError):
    code = "unsupported_version"


class NoHello(ClientError):
    code = "no_hello"


class Busy(ClientError):
    code = "busy"
    http_status = 503


class TooLarge(ClientError):
    code = "too_large"
    http_status = 413


class RateLimited(ClientError):
    code = "rate_limited"
    http_status = 429

    def __init__(self, message: str, retry_s: int = 60) -> None:
        super().__init__(message)
        self.retry_s = retry_s  # whole seconds, after which it is worth a try


class UnknownSession(ClientError):
    code = "unknown_session"
    http_status = 404


class SlowClient(ClientError):
    code = "slow_client"


class Idle(ClientError):
    code = "idle"


class EngineError(ClientError):
    code = "engine"
    http_status = 503


class Draining(ClientError):
    code = "draining"
    http_status = 503


# What HTTP is refused with before a turn could begin; the other codes are ClientError's.
_HTTP_CODES = (
    "bad_request",
    "unauthorized",
    "forbidden",
    "not_found",
    "method_not_allowed",
    "timeout",
    "unsupported_media_type",
)


def error_codes() -> tuple[str, ...]:
    """Return every code that a client can be told."""
    kinds = [ClientError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    return tuple(dict.fromkeys([*(kind.code for kind in kinds), *_HTTP_CODES]))
