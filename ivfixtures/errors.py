"""The one form of error lines, as the methods have it too."""

from ivmethods.errors import LineError, cut, error_line, printable

__all__ = ["LineError", "NotMeasuredError", "cut", "error_line", "printable"]


class NotMeasuredError(RuntimeError):
    """A measurement that a job should have made is not in the store; the executor knows why."""
