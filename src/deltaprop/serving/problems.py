"""What is wrong with a request: the status and the message of the answer."""

from __future__ import annotations

BAD_REQUEST, UNAUTHORIZED, NOT_FOUND = 400, 401, 404
TIMEOUT, TOO_LARGE, WRONG_MEDIA, INVALID, MISDIRECTED, BUSY = 408, 413, 415, 422, 421, 503


class Refused(Exception):
    """A request that is answered with an error.

    Attributes
    ----------
    status : int
        The HTTP status.
    message : str
        What was expected, what was found, what to do.
    headers : dict of str to str
        Further headers of the answer.
    """

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}


def invalid(message: str) -> Refused:
    """The request can be read, but does not fit the model."""
    return Refused(INVALID, message)
