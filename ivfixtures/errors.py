"""The one form of error lines, as the methods have it too."""

from ivmethods.errors import LineError, cut, error_line, printable

__all__ = ["LineError", "NotMeasuredError", "cut", "error_line", "printable"]


class NotMeasuredError(RuntimeError):
    """A measurement is not in the store; `digest` says which, and an executor knows why."""

    def __init__(self, message: str, digest: str) -> None:
        super().__init__(message)
        self.digest = digest
