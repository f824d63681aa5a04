"""One chat completion from an OpenAI-compatible endpoint: bounded in time, size and attempts."""

import functools
import json
import os
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from ivfixtures.data.scrubbing import scrubbed
from ivfixtures.errors import LineError, error_line

KEY = "IVCLAIMS_JUDGE_KEY"
ATTEMPTS = 3
FIRST_WAIT = 1.0  # seconds, doubled after every further attempt
MOST_WAIT = 20.0
TIMEOUT = 30.0  # seconds, of one attempt
LARGEST_BODY = 2**20
ERROR_BODY = 2**12
PASSING = (408, 409, 425, 429, 500, 502, 503, 504, 529)

_URL = re.compile(r"""https?://[A-Za-z0-9._\-:\[\]]+(/[!"$->@-~]*)?""")

_trusted = functools.cache(ssl.create_default_context)  # whom this machine trusts


class JudgeError(LineError, RuntimeError):
    """An answer that was not judged, in one line. Judgements made before it are kept."""


class PassingError(JudgeError):
    """A failure that may be gone at the next attempt, `wait` seconds later at the earliest."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


@dataclass(frozen=True)
class Endpoint:
    """An endpoint (`http://localhost:8000/v1`) and the name of a model there.

    The key, where one is needed, is read from the environment for every request and kept nowhere.
    """

    url: str
    model: str

    @property
    def host(self) -> str:
        """Host and port."""
        return urlsplit(self.url).netloc

    @property
    def path(self) -> str:
        """Path of the URL: one host may serve several models of one name; never a query."""
        return urlsplit(self.url).path

    def complete(self, prompt: str) -> str:
        """The model's reply to a prompt, after ATTEMPTS attempts at most.

        Raises: JudgeError.
        """
        wait, attempts = FIRST_WAIT, ATTEMPTS
        while True:
            try:
                return self._attempt(prompt)
            except PassingError as error:
                attempts -= 1
                if not attempts:
                    raise JudgeError(str(error)) from None
                time.sleep(min(max(wait, error.wait), MOST_WAIT))
            wait *= 2

    def error(self, what: str, got: str, expected: str, remedy: str) -> JudgeError:
        """An error in one line that never holds the key."""
        what, got = map(without_key, (what, got))
        where = f"judge {self.model} at {self.url}"
        return JudgeError(error_line(what, got, expected, where, remedy))

    def _attempt(self, prompt: str) -> str:
        body = {"model": self.model, "messages": [{"role": "user", "content": prompt}]}
        try:
            content = self._post({**body, "temperature": 0})
        except JudgeError as error:
            # Reasoning models (that of the paper is one) refuse a temperature.
            if isinstance(error, PassingError) or "temperature" not in str(error).lower():
                raise
            content = self._post(body)
        try:
            reply = json.loads(content)["choices"][0]["message"]["content"]
        except (ValueError, TypeError, LookupError, RecursionError):
            reply = None
        if isinstance(reply, str):
            return reply
        got, expected = content.decode("utf-8", "replace"), "JSON with choices[0].message.content"
        remedy = "check that it is a chat completions endpoint"
        raise self.error("response", repr(got), expected, remedy)

    def _post(self, body: Mapping[str, Any]) -> bytes:
        headers = {"Content-Type": "application/json", "User-Agent": "ivclaims"}
        headers["Accept-Encoding"] = "identity"  # what is packed has no size that can be limited
        if key := _key():
            headers["Authorization"] = f"Bearer {key}"
        content, deadline = b"", time.monotonic() + TIMEOUT
        try:
            # No redirect is followed: the key would go along.
            with httpx.stream(
                "POST",
                f"{self.url}/chat/completions",
                content=json.dumps(body).encode("ascii"),
                headers=headers,
                timeout=TIMEOUT,
                verify=_trusted(),
            ) as response:
                for part in response.iter_raw():
                    content += part
                    if len(content) > LARGEST_BODY:
                        got, expected = (
                            f"over {LARGEST_BODY} bytes",
                            f"at most {LARGEST_BODY} bytes",
                        )
                        raise self.error("response", got, expected, "check what the endpoint sends")
                    if time.monotonic() > deadline:  # it may come in drops
                        raise httpx.ReadTimeout("")
        except (httpx.HTTPError, httpx.InvalidURL, ImportError, ValueError) as error:
            # The last three are of proxies that the environment names.
            late = isinstance(error, httpx.TimeoutException)
            got = f"none within {TIMEOUT:g} s" if late else f"{type(error).__name__}: {error}"
            remedy = "check that it runs, and judge again: what was judged is kept"
            raise PassingError(str(self.error("response", got, "one", remedy))) from None
        if not response.is_success:
            raise self._refused(response, content)
        return content

    def _refused(self, response: httpx.Response, content: bytes) -> JudgeError:
        code = response.status_code
        if response.is_redirect:
            got = f"redirect to {response.headers.get('Location')}"
            remedy = "name the final URL with --judge: the key is sent nowhere else"
            return self.error("response", got, "the answer itself", remedy)
        got = f"HTTP {code} {_error_text(content)}"
        if code not in PASSING:
            return self.error("response", got, "HTTP 200", f"check URL, model and {KEY}")
        again = "judge again later: what was judged is kept"
        wait = response.headers.get("Retry-After", "")
        seconds = float(wait) if re.fullmatch(r"[0-9]{1,6}", wait) else 0.0
        return PassingError(str(self.error("response", got, "HTTP 200", again)), seconds)


def read_endpoint(url: str | None, model: str | None) -> Endpoint | None:
    """Return the endpoint that the options name, if they do.

    Raises: ValueError, one line, if one option lacks the other or the URL cannot be used.
    """
    if url is None and model is None:
        return None
    if not url or not model:
        given, other = ("--judge", "--judge-model") if url else ("--judge-model", "--judge")
        raise ValueError(
            f"{other}=nothing, but should be given together with {given} [command line]"
        )
    if not _URL.fullmatch(url) or not _has_host(url):
        # It may hold a password, so it is not repeated.
        raise ValueError(
            "--judge=something else, but should be http://HOST/PATH or https://HOST/PATH in ASCII, "
            f"without user, query and fragment [command line]; a key belongs in {KEY}"
        )
    return Endpoint(url.rstrip("/"), model)


def without_key(text: str) -> str:
    """What an endpoint sent, without the key that it was sent.

    Raises: JudgeError, the key is of no use.
    """
    return scrubbed(text, _key(), f"${KEY}")


def _key() -> str:
    key = os.environ.get(KEY, "").strip()
    if not re.fullmatch(r"[!-~]*", key):
        raise JudgeError(
            f"{KEY}=something else, but should be printable ASCII without spaces [environment]; "
            "correct it"
        )
    return key


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.port != 0 and bool((parts.hostname or "").encode("idna"))
    except ValueError:
        return False


def _error_text(content: bytes) -> str:
    text = content[:ERROR_BODY].decode("utf-8", "replace")
    # The endpoint's own sentence, without the JSON around it, says most in few characters.
    found = re.search(r'"message"\s*:\s*"((?:[^"\\]|\\.)*)"', text)
    return found[1] if found else text
