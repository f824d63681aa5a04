"""The one form of error lines: what is wrong, what it should be, where, and what to do."""


class LineError(Exception):
    """An error that says all in one line: where a cell meets it, the line stands alone."""


class PromptError(LineError, ValueError):
    """A prompt that cannot be made as it should be, in one line that says what to change."""


def error_line(what: str, got: str, expected: str, where: object, remedy: str) -> str:
    """Return the error of one defect as one printable line, in which `got` is cut short."""
    return printable(f"{what}={cut(got)}, but should be {expected} [{where}]; {remedy}")


def printable(text: str) -> str:
    """Return a text as one line; what a terminal would obey instead of showing it is escaped."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def cut(text: str) -> str:
    """Return a text of at most 80 characters, with dots for what was cut off."""
    return text if len(text) <= 80 else text[:77] + "..."


class NotRunnableError(LineError, ValueError):
    """Why a method cannot be run on a model, in one line: it says nothing of the claim."""
