"""The one form of error lines, as the methods have it too."""

from ivmethods.errors import cut, error_line, printable

__all__ = ["cut", "error_line", "printable"]
