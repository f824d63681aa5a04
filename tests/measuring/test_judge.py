"""The judge against a stub endpoint, with all the ways in which an endpoint can fail."""

import contextlib
import gzip
import json
import os
import shutil
import threading
import time
from base64 import b64encode
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivevidence import Store, read_evidence
from ivfixtures.data import endpoint as endpoints
from ivfixtures.data.endpoint import KEY, Endpoint, JudgeError, read_endpoint
from ivfixtures.data.tasks import load_tasks
from ivfixtures.measuring.judge import judge_prompt, judged, judged_answers, read_decision
from tests.measured import data_of
from tests.running import PACK, has_traceback, shown

SECRET = "sk-do-not-tell"
YES = {"choices": [{"message": {"content": "yes"}}]}


class Stub:
    """An endpoint on this machine; `replies` are given one after the other, the last one forever.

    A reply is (status, headers, body); a body is bytes, plain data (sent as JSON), or a function
    that writes to the connection itself.
    """

    def __init__(self):
        self.replies, self.requests = [(200, {}, YES)], []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                length = int(self.headers["Content-Length"])
                stub.requests.append((self.path, dict(self.headers), self.rfile.read(length)))
                many = len(stub.replies) > 1
                status, headers, body = stub.replies.pop(0) if many else stub.replies[0]
                if callable(body):
                    body(self)
                    return
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def waits(monkeypatch):
    """Seconds that were waited between attempts; nobody really waits."""
    found = []
    monkeypatch.setattr(
        endpoints, "time", SimpleNamespace(sleep=found.append, monotonic=time.monotonic)
    )
    return found


@pytest.fixture
def stub(monkeypatch, waits):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv(KEY, SECRET)
    found = Stub()
    yield found
    found.close()


@pytest.fixture
def ask(stub, tmp_path):
    """Ask the stub about an answer, through a store."""
    store = Store(tmp_path / "store")

    def asking(answer="bigger"):
        prompt = judge_prompt("an English adjective", "State it.", answer)
        return judged(Endpoint(stub.url, "some-model"), store, prompt)

    return asking


def says(text):
    return 200, {}, {"choices": [{"message": {"content": text}}]}


# ---------------------------------------------------------------------------------- what is asked


def test_the_question_is_table_19s():
    prompt = judge_prompt("the name of a color", "State {its} color.", "red'}")
    assert prompt == (
        "You will be given a task instruction and an answer someone wrote in response. Regardless "
        "of whether the answer is correct, determine whether the answer is the name of a color. "
        "Output either 'yes' or 'no'. Instruction: 'State {its} color.' Answer: 'red'}'. "
        "Your decision:"
    )


def test_the_packaged_tasks_have_the_papers_response_types():
    assert {name: task.response_type for name, task in load_tasks().items()} == {
        "adj_comp": "an English adjective in the comparative form",
        "adj_ant": "an English adjective in its standard declarative form",
        "anim_color": "the name of a color",
        "can_fly": None,
    }


def test_a_request_names_the_model_and_carries_the_key_and_the_prompt(stub, ask):
    assert ask("bigger").valid
    ((path, headers, body),) = stub.requests
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {SECRET}"
    sent = json.loads(body)
    assert (sent["model"], sent["temperature"]) == ("some-model", 0)
    assert [m["role"] for m in sent["messages"]] == ["user"]
    assert "Answer: 'bigger'. " in sent["messages"][0]["content"]


def test_without_a_key_none_is_sent(stub, ask, monkeypatch):
    monkeypatch.delenv(KEY)
    assert ask().valid
    assert "Authorization" not in stub.requests[0][1]


def test_a_model_that_refuses_a_temperature_is_asked_without(stub, ask):
    refusal = {"error": {"message": "Unsupported value: 'temperature' does not support 0"}}
    stub.replies = [(400, {}, refusal), says("No.")]
    assert not ask().valid
    assert "temperature" not in json.loads(stub.requests[1][2])


# ------------------------------------------------------------------------- how it is understood


@pytest.mark.parametrize(
    ("reply", "decision"),
    [
        ("yes", True),
        ("No", False),
        (" 'Yes'.\n", True),
        ("**no**", False),
        ("Yes, it is a comparative.", True),
        ("<think>no, or yes?</think>\n\nno", False),
        ("", None),
        ("maybe", None),
        ("yes or no", None),
        ("No idea", None),
        ("no-one can say", None),
        ("Yes, there is no doubt", None),
        ("The answer is yes", None),
        ("yesterday", None),
        ("<think>yes", None),
    ],
)
def test_only_a_clear_yes_or_no_counts(reply, decision):
    assert read_decision(reply) is decision


@given(st.text())
def test_no_text_means_both(text):
    assert read_decision(text) in (True, False, None)
    assert read_decision(f"yes, {text} no") is None


def test_an_answer_is_judged_once_by_a_host_and_a_model(stub, ask, tmp_path):
    first, again = ask("red"), ask("red")
    assert (first.valid, first.reply) == (again.valid, again.reply)
    assert first.measurement.digest == again.measurement.digest
    assert len(stub.requests) == 1
    assert not ask_fresh(stub, tmp_path, "other-model", "no").valid
    assert not ask_fresh(stub, tmp_path, "some-model", "no", path="/other/v1").valid
    stored = "".join(path.read_text("latin-1") for path in (tmp_path / "store").iterdir())
    assert SECRET not in stored
    assert "127.0.0.1" in stored


DOUBLED = json.dumps(json.dumps({"k": SECRET.replace("s", "\\u0073")}))
ECHOES = {
    "as it is": SECRET,
    "in capitals": SECRET.upper(),
    "JSON": "".join(f"\\u{ord(c):04x}" for c in SECRET),
    "JSON in part": SECRET.replace("o", "\\u006f"),
    "JSON twice": DOUBLED,
    "needless escapes": SECRET.replace("-", "\\-"),
    "URL": "".join(f"%{ord(c):02X}" for c in SECRET),
    "URL in part": SECRET.replace("-", "%2d"),
    "URL twice": SECRET.replace("-", "%252d"),
    "HTML": SECRET.replace("-", "&#45;"),
    "Python": SECRET.replace("-", r"\x2d"),
    "base64": b64encode(SECRET.encode()).decode(),
    "base64 of the header": b64encode(f"Bearer {SECRET}".encode()).decode(),
    "base64 glued": f"key{b64encode(SECRET.encode()).decode()}",
    "base64 in JSON": json.dumps(b64encode(SECRET.encode()).decode()).replace("a", "\\u0061"),
    "hex": SECRET.encode().hex(),
    "with spaces": " ".join(SECRET),
    "in lines": "\n".join([SECRET[:7], SECRET[7:]]),
    "cut": SECRET[: len(SECRET) - 2],
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
def test_a_key_that_comes_back_is_neither_told_nor_kept(stub, ask, tmp_path, echo):
    for status in (200, 401):
        stub.replies = [(status, {}, f'{{"message": "your key: {echo}"}}'.encode())]
        with pytest.raises(JudgeError) as raised:
            ask(str(status))
        told = str(raised.value)
        assert echo not in told
        assert SECRET not in told
        assert KEY in told
    stub.replies = [says(f"yes: {echo}"), says(f"no, {echo}")]
    assert [ask("a").valid, ask("b").valid] == [True, False]
    kept = "".join(path.read_text("latin-1") for path in (tmp_path / "store").iterdir())
    for text in (kept, ask("a").reply, ask("b").reply):
        assert echo not in text
        assert json.dumps(echo)[1:-1] not in text
        assert SECRET not in text


def test_a_reply_that_an_earlier_version_stored_is_told_without_the_key(ask, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("ivfixtures.measuring.judge._kept", lambda reply: f"yes {SECRET}")
        ask()
    assert ask().reply == f"yes ${KEY}"


def test_what_is_kept_of_a_reply_is_short_and_without_thoughts(stub, ask):
    stub.replies = [says(f"<think>{'no ' * 1000}</think>\n Yes, it \n is. {'x' * 1000}")]
    assert ask().reply == f"Yes, it is. {'x' * 185}..."


@pytest.mark.parametrize("key", ["", "no", "EMPTY"])
def test_a_key_that_is_a_word_decides_nothing(ask, monkeypatch, key):
    monkeypatch.setenv(KEY, key)
    assert ask().valid
    assert ask().reply == "yes"


@pytest.mark.parametrize("text", [" ", "<think>", "</think>", "<think></think>", "\\", "%25", "-"])
def test_long_replies_are_read_in_time(ask, stub, text):
    stub.replies = [says((text * 2**20)[: 2**19])]
    start = time.monotonic()
    with pytest.raises(JudgeError):
        ask()
    assert time.monotonic() - start < 20


def ask_fresh(stub, tmp_path, model, reply, *, path="/v1"):
    stub.replies = [says(reply)]
    prompt = judge_prompt("an English adjective", "State it.", "red")
    url = stub.url.removesuffix("/v1") + path
    return judged(Endpoint(url, model), Store(tmp_path / "store"), prompt)


# ------------------------------------------------------------------------------------ what fails


def hang_up(handler):
    handler.connection.close()


def no_http(handler):
    handler.wfile.write(b"hello\r\n\r\n")


def cut_short(handler):
    handler.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length: 500\r\n\r\n{")


BIG = b" " * (endpoints.LARGEST_BODY + 1)


@pytest.mark.parametrize(
    ("reply", "attempts", "line"),
    [
        (says("maybe"), 1, "reply on 'bigger'='maybe', but should be yes or no"),
        (says(None), 1, "but should be JSON with choices[0].message.content"),
        ((200, {}, {"choices": []}), 1, "but should be JSON with choices[0].message.content"),
        ((200, {}, [1]), 1, "but should be JSON with choices[0].message.content"),
        ((200, {}, b"<html>"), 1, "response='<html>', but should be JSON"),
        ((200, {}, b"[" * 100_000), 1, "but should be JSON with choices"),
        ((200, {}, b"\xff\xfe\x00"), 1, "but should be JSON with choices"),
        ((200, {}, BIG), 1, "response=over 1048576 bytes, but should be at most 1048576"),
        ((500, {}, {"error": {"message": "no luck"}}), 3, "response=HTTP 500 no luck"),
        ((429, {"Retry-After": "7"}, b"slow down"), 3, "response=HTTP 429 slow down"),
        ((401, {}, {"message": f"bad key {SECRET}"}), 1, "HTTP 401 bad key $IVCLAIMS_JUDGE_KEY"),
        ((404, {}, b"nothing\nhere"), 1, "response=HTTP 404 nothing here"),
        ((302, {"Location": "file:///etc/passwd"}, b""), 1, "redirect to file:///etc/passwd"),
        ((302, {"Location": "ftp://x/y"}, b""), 1, "redirect to ftp://x/y"),
        ((303, {"Location": "http://127.0.0.1:1/"}, b""), 1, "redirect to http://127.0.0.1:1/"),
        ((308, {"Location": "http://127.0.0.1:1/"}, b""), 1, "redirect to http://127.0.0.1:1/"),
        ((302, {"Location": "http://a:b/"}, b""), 3, "Invalid URL in location header"),
        ((200, {"Content-Encoding": "gzip"}, gzip.compress(BIG)), 1, "but should be JSON with"),
        ((0, {}, hang_up), 3, "but should be one ["),
        ((0, {}, no_http), 3, "response=RemoteProtocolError: "),
        ((0, {}, cut_short), 3, "response=RemoteProtocolError: "),
    ],
)
def test_every_failure_is_one_line_after_few_attempts(stub, ask, waits, reply, attempts, line):
    stub.replies = [reply]
    with pytest.raises(JudgeError) as raised:
        ask()
    message = str(raised.value)
    assert line in message
    assert message.isprintable()
    assert len(message) < 400
    assert SECRET not in message
    assert "some-model" in message
    assert len(stub.requests) == attempts
    assert len(waits) == attempts - 1
    stub.replies = [says("yes")]
    assert ask().valid


def test_waits_double_and_follow_the_endpoint_within_bounds(stub, ask, waits):
    stub.replies = [(503, {}, b""), (503, {}, b""), says("yes")]
    assert ask("a").valid
    stub.replies = [(429, {"Retry-After": "7"}, b""), (429, {"Retry-After": "9999"}, b"")]
    stub.replies.append(says("yes"))
    assert ask("b").valid
    assert waits == [1.0, 2.0, 7.0, endpoints.MOST_WAIT]


def test_a_refused_connection_is_one_line(stub, ask):
    stub.server.shutdown()
    stub.server.server_close()
    with pytest.raises(JudgeError, match=r"=ConnectError: .*refused.* \[judge some-model"):
        ask()


def test_the_proxy_of_the_environment_is_asked(stub, ask, monkeypatch):
    monkeypatch.setenv("http_proxy", stub.url.removesuffix("/v1"))
    monkeypatch.delenv("no_proxy")
    stub.url = "http://judge.invalid/v1"
    assert ask().valid
    assert stub.requests[0][0] == "http://judge.invalid/v1/chat/completions"


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "ftp://127.0.0.1", "http://[", "x:y"])
def test_a_proxy_that_cannot_be_used_is_one_line(ask, monkeypatch, proxy):
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.delenv("no_proxy")
    with pytest.raises(JudgeError, match=r"response=\w+: .* \[judge some-model") as raised:
        ask()
    assert str(raised.value).isprintable()


def silent(handler):
    time.sleep(0.5)


def in_drops(handler):
    handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
    with contextlib.suppress(OSError):
        for _ in range(20):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.05)


@pytest.mark.parametrize("behaviour", [silent, in_drops])
def test_a_slow_endpoint_is_left_in_time(stub, ask, monkeypatch, behaviour):
    monkeypatch.setattr(endpoints, "TIMEOUT", 0.2)
    monkeypatch.setattr(endpoints, "ATTEMPTS", 2)
    stub.replies = [(0, {}, behaviour)]
    start = time.monotonic()
    with pytest.raises(JudgeError, match=r"response=none within 0\.2 s"):
        ask()
    assert time.monotonic() - start < 2
    assert len(stub.requests) == 2


def test_a_key_that_no_header_can_hold_is_not_repeated(ask, monkeypatch):
    monkeypatch.setenv(KEY, f"{SECRET}\r\nX: y")
    with pytest.raises(JudgeError, match="printable ASCII") as raised:
        ask()
    assert SECRET not in str(raised.value)


# ----------------------------------------------------------------------------------- the options


def test_the_options_name_an_endpoint():
    assert read_endpoint(None, None) is None
    found = read_endpoint("https://api.example.com/v1/", "m")
    assert found == Endpoint("https://api.example.com/v1", "m")
    assert read_endpoint("http://[::1]:8000", "m").host == "[::1]:8000"


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "ftp://host/v1", "localhost:8000/v1", "http://", "http:///v1"),
        *(f"http://user:{SECRET}@host/v1", f"http://host/v1?key={SECRET}", "http://host/v1#a"),
        *("http://host/v 1", "http://host/v1\n", "http://host:port/", "http://host:99999/"),
        *("http://[::1/v1", "http://h\u00f6st/v1", "http://..", "HTTP:/host", "http://host:0/"),
    ],
)
def test_an_url_that_cannot_be_used_is_one_line_and_not_repeated(url):
    with pytest.raises(
        ValueError, match=r"^--judge=something else, but should be http://HOST"
    ) as e:
        read_endpoint(url, "m")
    assert SECRET not in str(e.value)
    assert str(e.value).isprintable()


@pytest.mark.parametrize(("url", "model"), [("http://host/v1", None), (None, "m"), ("", "m")])
def test_url_and_model_go_together(url, model):
    with pytest.raises(ValueError, match="but should be given together with --judge"):
        read_endpoint(url, model)


# ------------------------------------------------------------------------------------ the claim


@pytest.fixture
def claim(pytester, stub):
    def run(*options, task="adj_comp", name="behaviour"):
        return pytester.runpytest_inprocess(
            *("--pyargs", f"{PACK}.test_{name}", "--checkpoint", "tiny-olmo2-sft"),
            *("--samples", "8", "-k", f"sft-{task}", "-p", "no:cacheprovider"),
            *("--judge", stub.url, "--judge-model", "some-model", *options),
        )

    return run


def evidence(pytester):
    return read_evidence(pytester.path / "reports" / "claims.evidence.json")


def test_the_judge_decides_and_the_stated_set_stands_beside(claim, pytester, stub):
    stub.replies = [says("no")]
    claim().assert_outcomes(failed=1, deselected=3)
    (cell,) = evidence(pytester).cells
    assert cell.decision.verdict == "refuted"
    (criterion,) = cell.decision.criteria
    assert (criterion.estimate, criterion.n) == (0.0, 8)
    table, disputed = cell.tables[:2]
    assert table.title.startswith("Judged by some-model at 127.0.0.1:")
    assert {row[0]: row[1] for row in table.rows} == {
        "IA (judge)": 0.0,
        "IA (stated set)": 1.0,
        "agreement of the two": 0.0,
    }
    assert {row[2:] for row in disputed.rows} == {("not valid", "valid", "no")}
    assert cell.figures[0].data["series"][2]["name"] == "IA (judge)"
    assert sum(role.startswith("judgement of") for role in cell.measurements) == len(stub.requests)
    assert f"--judge {stub.url} --judge-model some-model" in cell.command
    content = (pytester.path / "reports" / "claims.evidence.json").read_text()
    assert SECRET not in content + shown(pytester.path / "reports" / "claims.html")


def test_a_task_without_a_response_type_is_judged_by_its_set(claim, pytester, stub):
    claim(task="can_fly").assert_outcomes(passed=1, deselected=3)
    (cell,) = evidence(pytester).cells
    assert not any(table.title.startswith("Judged") for table in cell.tables)
    assert not stub.requests


def test_whom_the_judge_finds_incompetent_no_other_claim_is_judged_on(claim, pytester, stub):
    stub.replies = [says("no")]
    claim(name="localization").assert_outcomes(skipped=1, deselected=3)
    (cell,) = evidence(pytester).cells
    assert cell.decision.verdict == "not_applicable"
    assert "IA=0.00" in cell.decision.reason, "the stated set has 1.00"
    assert cell.decision.gate == "instruction_vectors/behaviour[tiny-olmo2-sft-adj_comp-ia]"


def test_an_endpoint_that_dies_in_the_middle_makes_an_error_and_loses_nothing(
    claim, pytester, stub
):
    stub.replies = [says("yes"), says("yes"), (500, {}, b"gone")]
    result = claim()
    result.assert_outcomes(failed=1, deselected=3)
    assert not has_traceback(result)
    found = evidence(pytester)
    assert not found.cells
    (error,) = found.errors
    assert "response=HTTP 500 gone, but should be HTTP 200 [" in error.message
    assert "\n" not in error.message
    asked = len(stub.requests)
    stub.replies = [says("yes")]
    claim().assert_outcomes(passed=1, deselected=3)
    distinct = {json.loads(body)["messages"][0]["content"] for _, _, body in stub.requests}
    assert len(stub.requests) - asked == len(distinct) - 2
    assert evidence(pytester).cells[0].decision.verdict == "supported"


def test_answers_are_asked_for_once_each(stub, tmp_path):
    answers, shown = ["red\n", "Red", " red. Blue", "red"], []
    ask = partial(judged_answers, store=Store(tmp_path), show=shown.append)
    stub.replies = [says("yes"), says("no")]
    data = data_of("anim_color", samples=4, judge=Endpoint(stub.url, "some-model"))
    found = ask(data, answers)
    assert list(found.judgements) == ["red", "Red"]
    assert found.valid.tolist() == [True, False, True, True]
    assert shown == [f"tiny-olmo2-sft anim_color: judging answer {n}" for n in (1, 2)]
    assert len(stub.requests) == 2
    data.judge = ask
    assert data.judgements == {}
    assert data.judged(answers).valid.tolist() == found.valid.tolist()
    assert [*data.judgements] == ["judgement of 'red'", "judgement of 'Red'"]
    assert ask(data_of("anim_color"), answers) is None


def test_a_wrong_option_is_one_line(pytester):
    result = pytester.runpytest_inprocess(
        *(
            "--pyargs",
            "claims.instruction_vectors.test_behaviour",
            "--judge",
            f"http://me:{SECRET}@host/v1",
        ),
        *("--judge-model", "m", "-p", "no:cacheprovider"),
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--judge=something else, but should be http://HOST/PATH*"])
    assert SECRET not in "\n".join(result.errlines)
    assert not os.path.exists(pytester.path / "reports")
    shutil.rmtree(pytester.path / ".ivclaims", ignore_errors=True)
