"""The one form of error lines, as the methods have it too."""

from ivmethods.errors import LineError, cut, error_line, printable

__all__ = ["LineError", "NotMeasuredError", "cut", "error_line", "message_of", "printable"]


class NotMeasuredError(RuntimeError):
    """A measurement is not in the store; `digest` says which, and an executor knows why."""

    def __init__(self, message: str, digest: str) -> None:
        super().__init__(message)
        self.digest = digest


def message_of(error: Exception) -> str:
    """An error as a cell's own message: refusals stand alone, others say what they are."""
    text = str(error)
    if isinstance(error, LineError) or ("\n" not in text and ", but should be " in text):
        return printable(text)
    return f"{type(error).__name__}: {text}"
