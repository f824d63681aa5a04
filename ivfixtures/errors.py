"""The one form of error lines, as the methods have it too."""

from ivmethods.errors import LineError, cut, error_line, printable

__all__ = ["LineError", "cut", "error_line", "printable"]
