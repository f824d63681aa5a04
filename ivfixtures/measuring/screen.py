"""Where progress is shown while measurements are made."""

from typing import Protocol

import pytest

from ivevidence.figures.svg import visible_text


class Screen(Protocol):
    """Where progress is shown."""

    def line(self, text: str) -> None:
        """Show a line that stays."""

    def passing(self, text: str) -> bool:
        """Show a line that the next one replaces; False, and nothing, where lines stay."""


class Terminal:
    """Pytest's terminal."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def line(self, text: str) -> None:
        """Show a line that stays."""
        self._write(text, stays=True)

    def passing(self, text: str) -> bool:
        """Show a line that the next one replaces; nothing where lines stay, as in logs."""
        return self._write(text, stays=False)

    def _write(self, text: str, *, stays: bool) -> bool:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        if not (reporter and capture and (stays or reporter.isatty)):
            return False
        with capture.global_and_fixture_disabled():
            if stays:
                reporter.ensure_newline()
                reporter.write_line(visible_text(text))
            else:
                reporter.rewrite(visible_text(text), erase=True)
        reporter.currentfspath = None  # pytest names the file again on its next line
        return True
