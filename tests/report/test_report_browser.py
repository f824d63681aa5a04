"""The report in a real browser: what scripts do, and that data never become markup."""

import base64
import re
import shutil
import subprocess
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from ivevidence import Prompt, read_evidence, render
from ivevidence.report.fragment import frame
from ivevidence.report.html import Html, tag
from ivevidence.report.page import page
from tests.evidence_examples import (
    CHECKPOINTS,
    CLAIMS,
    example_cell,
    example_cells,
    example_comparison,
)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--virtual-time-budget=5000",
)
ATTACK = "<script>document.title='x'</script>"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def cells():
    prompt = Prompt(
        "attack", (ATTACK, "<img src=x onerror=\"document.title='y'\">"), {}, "a", ATTACK
    )
    cells = [
        replace(example_cell(claim, checkpoint, task, metric), prompts=(prompt,))
        for claim, metric in ((CLAIMS[0], None), (CLAIMS[1], "rr"))
        for checkpoint in (CHECKPOINTS[0], CHECKPOINTS[3])
        for task in ("adj_comp", "can_fly")
    ]
    marks = ("as expected", "changed", "drifted", "new")
    return [example_comparison(cell, marks[k % 4]) for k, cell in enumerate(cells)]


@pytest.fixture(scope="module")
def body(cells):
    return render(cells)


def browse(
    tmp_path, body: Html, *, anchor: str = "", script: str = "", options=("--dump-dom",)
) -> str:
    """Return the page as it stands after loading, with `script` run at its end."""
    source = page("report", Html(f"{body}<script>{script}</script>"))
    scripts = re.findall(r"<script>(.*?)</script>", source, flags=re.DOTALL)
    hashes = [base64.b64encode(sha256(text.encode()).digest()).decode() for text in scripts]
    allowed = "".join(f"'sha256-{text}' " for text in hashes)
    return visit(tmp_path, source.replace("script-src ", f"script-src {allowed}"), anchor, options)


def visit(tmp_path, source: str, anchor: str = "", options=("--dump-dom",)) -> str:
    """Return a page as it stands after loading."""
    file = tmp_path / "report.html"
    file.write_text(source, "utf-8")
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = [CHROMIUM, *OPTIONS, profile, *options, file.as_uri() + anchor]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def details(dom: str) -> dict[str, str]:
    return {m[2]: m[0] for m in re.finditer(r'<details ([^>]*)?id="(cell-[^"]*)"[^>]*>', dom)}


OPEN = "#cell-instruction_vectors/localization--tiny-olmo2-planted-sft-adj_comp"


def test_a_link_to_a_cell_opens_it_and_unpacks_only_its_content(tmp_path, body, cells):
    (cell,) = (
        c
        for c in cells
        if c.cell_id == "instruction_vectors/localization[tiny-olmo2-planted-sft-adj_comp]"
    )
    said = [cell.command, cell.notes[0], "Before and now", "50 samples"]
    assert [text for text in said if text in body] == []
    dom = browse(tmp_path, body, anchor=OPEN)
    opened = [name for name, tag in details(dom).items() if re.search(r"\bopen\b", tag)]
    assert opened == [OPEN[1:]]
    assert [dom.count(f">{text}<") for text in said] == [1] * len(said)
    assert dom.count("<svg") == len(cell.figures) + 1
    assert dom.count("data-iv-packed=") == len(cells) - 1
    assert ">copy</button>" in dom


def test_an_opened_cell_repeats_its_claim(tmp_path, body, cells):
    dom = browse(tmp_path, body, anchor=OPEN)
    counts = [[text.count(claim.quote) for text in (body, dom)] for claim in CLAIMS]
    assert counts == [[1, 2], [1, 1]]


def test_a_link_leads_the_keyboard_to_the_cell_and_wide_tables_can_be_scrolled(tmp_path, body):
    script = """
        setTimeout(() => {
          const cell = document.activeElement.parentElement;
          const wide = [...cell.querySelectorAll(".iv-scroll")].filter(
            (box) => box.scrollWidth > box.clientWidth);
          document.title = [cell.id, wide.length > 0, wide.every((box) => box.tabIndex === 0)];
        }, 1000);
    """
    options = ("--window-size=400,900", "--dump-dom")
    dom = browse(tmp_path, body, anchor=OPEN, script=script, options=options)
    assert f"<title>{OPEN[1:]},true,true</title>" in dom


def test_markup_in_prompts_shows_as_text(tmp_path, body):
    dom = browse(tmp_path, body, anchor=OPEN)
    assert "<title>report</title>" in dom
    assert "&lt;script&gt;document.title='x'&lt;/script&gt;" in dom
    assert "<img" not in dom


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("claim", "instruction_vectors/superadditivity", 4),
        ("checkpoint", "tiny-olmo2-base", 4),
        ("task", "can_fly", 4),
        ("verdict", "not_applicable", 4),
        ("expected", "drifted", 2),
    ],
)
def test_filters_leave_the_cells_asked_for(tmp_path, body, cells, name, value, shown):
    script = (
        f"const s = document.querySelector('.iv-filters [name={name}]'); s.value = '{value}';"
        "s.dispatchEvent(new Event('change', {bubbles: true}));"
    )
    dom = browse(tmp_path, body, script=script)
    left = [tag for tag in details(dom).values() if "hidden" not in tag]
    assert len(left) == shown
    assert all(f'data-{name}="{value}"' in tag for tag in left)
    assert f"{shown} of {len(cells)} cells" in dom
    assert dom.count("iv-off") - body.count("iv-off") == len(cells) - shown


def test_all_shown_cells_can_be_opened_and_closed(tmp_path, body, cells):
    press = "document.querySelector('[data-iv={}]').click();"
    dom = browse(tmp_path, body, script=press.format("open"))
    assert all(re.search(r"\bopen\b", tag) for tag in details(dom).values())
    assert "data-iv-packed=" not in dom
    dom = browse(tmp_path, body, script=press.format("open") + press.format("close"))
    assert not any(re.search(r"\bopen\b", tag) for tag in details(dom).values())


def test_a_click_in_the_matrix_opens_its_cell(tmp_path, body):
    dom = browse(tmp_path, body, script=f"document.querySelector('a[href=\"{OPEN}\"]').click()")
    assert [n for n, tag in details(dom).items() if re.search(r"\bopen\b", tag)] == [OPEN[1:]]


def test_a_link_to_a_hidden_or_unknown_cell_breaks_nothing(tmp_path, body, cells):
    for anchor in ("#cell-nothing", "#%E0%A4%A"):
        dom = browse(tmp_path, body, anchor=anchor)
        assert f"{len(cells)} of {len(cells)} cells" in dom
        assert not any(re.search(r"\bopen\b", tag) for tag in details(dom).values())


def test_without_scripts_the_page_is_a_plain_list(tmp_path, body, cells):
    scriptless = Html(re.sub(r"<script>.*?</script>", "", body, flags=re.DOTALL))
    dom = browse(tmp_path, scriptless)
    assert len(details(dom)) == len(cells)
    assert re.search(r"<form [^>]*hidden", dom)
    assert dom.count("Unpacked by a script, and in the evidence file") == len(cells)


def test_the_page_can_be_photographed(tmp_path, body):
    browse(tmp_path, body, options=("--window-size=1200,900", f"--screenshot={tmp_path / 'p.png'}"))
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_five_hundred_cells_open_at_once_and_stay_packed(tmp_path):
    first = [replace(cell, figures=()) for cell in example_cells()]
    copies = [replace(c, checkpoint=f"{c.checkpoint}-{k}") for k in range(8) for c in first]
    cells = [*first, *copies][:500]
    dom = browse(tmp_path, render(cells), anchor=OPEN)
    assert "500 of 500 cells" in dom
    assert dom.count("data-iv-packed=") == 499
    assert len(re.findall(r"<details [^>]*\bopen\b", dom)) == 1


def test_opened_cells_are_printed_whole_and_closed_ones_as_a_line(tmp_path, cells):
    story = render([replace(cell, notes=("a long story",) * 400) for cell in cells])
    brief = pages_printed(tmp_path, render(cells))
    assert brief > 1
    assert pages_printed(tmp_path, story, anchor=OPEN) >= brief + 5
    press = "document.querySelector('[data-iv={}]').click();"
    shut = press.format("open") + f"setTimeout(() => {{ {press.format('close')} }}, 1000);"
    assert pages_printed(tmp_path, story, script=shut) == brief


def pages_printed(tmp_path, body: Html, **how: str) -> int:
    file = tmp_path / "report.pdf"
    browse(tmp_path, body, options=(f"--print-to-pdf={file}",), **how)
    return len(re.findall(rb"/Type /Page\b", file.read_bytes()))


def test_a_frame_around_anything_else_runs_without_an_error(tmp_path):
    watch = Html("<script>onerror = (said) => { document.title = said; };</script>")
    body = frame(watch, tag("h1", "Audit"), label="Audit")
    dom = browse(tmp_path, body, anchor="#nothing")
    assert "<title>report</title>" in dom
    assert "<h1>Audit</h1>" in dom


def test_no_script_runs_but_the_report_s_own(tmp_path, cells):
    attack = Html("<script>document.title = 'x'</script><img src=x onerror=\"document.title='y'\">")
    dom = visit(tmp_path, page("report", Html(attack + render(cells))))
    assert "<title>report</title>" in dom
    assert f"{len(cells)} of {len(cells)} cells" in dom


@pytest.mark.parametrize("width", [1000, 1400, 1920])
def test_a_cell_that_is_jumped_to_stops_below_the_filters(tmp_path, body, width):
    script = """
        setTimeout(() => {
          const [bar, line] = [".iv-filters", ".iv-cell[open] > summary"].map(
            (name) => document.querySelector(name).getBoundingClientRect());
          document.title = [bar.top, bar.bottom <= line.top, line.bottom < innerHeight];
        }, 1000);
    """
    options = (f"--window-size={width},900", "--dump-dom")
    dom = browse(tmp_path, body, anchor=OPEN, script=script, options=options)
    assert "<title>0,true,true</title>" in dom


def test_filters_are_in_the_address_and_come_back_with_it(tmp_path, body, cells):
    choose = (
        "const s = document.querySelector('.iv-filters [name=task]'); s.value = 'can_fly';"
        "s.dispatchEvent(new Event('change', {bubbles: true}));"
    )
    tell = "document.title = location.search + location.hash;"
    dom = browse(tmp_path, body, anchor=f"?sort=x&verdict={'x' * 9}#a", script=choose + tell)
    address = "?sort=x&amp;task=can_fly#a"
    assert f"<title>{address}</title>" in dom
    dom = browse(tmp_path, body, anchor=address.replace("&amp;", "&"))
    assert f"4 of {len(cells)} cells" in dom
    reset = "document.querySelector('[type=reset]').click(); setTimeout(() => {" + tell + "}, 500);"
    dom = browse(tmp_path, body, anchor="?sort=x&task=can_fly#a", script=reset)
    assert "<title>?sort=x#a</title>" in dom


@pytest.mark.parametrize("stands_alone", [True, False])
def test_a_run_s_page_works_under_its_policy_and_is_no_wider_than_a_telephone(
    pytester, stands_alone
):
    options = ["--self-contained-html"] * stands_alone
    command = (
        "--pyargs",
        "claims.instruction_vectors.test_published_audit",
        "-p",
        "no:cacheprovider",
        "-k",
        "snarks",
    )
    pytester.runpytest_subprocess(*command, "--html", "claims.html", *options)
    source = Path(pytester.path, "claims.html").read_text("utf-8")
    assert source.count("<h1") == 1
    assert '<html lang="en">' in source
    assert '<title id="head-title">Claims on published numbers · ivclaims</title>' in source
    evidence = read_evidence(Path(pytester.path, "claims.evidence.json"))
    assert evidence.sha256 in source
    spy = """
        const broken = [];
        addEventListener("securitypolicyviolation", (event) => broken.push(event.blockedURI));
        setTimeout(() => {
          const rows = document.querySelectorAll(".results-table-row").length;
          const width = document.documentElement.scrollWidth;
          parent.postMessage([rows, width <= innerWidth, ...broken].join(), "*");
        }, 2000);
    """
    allowed = base64.b64encode(sha256(spy.encode()).digest()).decode()
    source = source.replace("script-src ", f"script-src 'sha256-{allowed}' ")
    source = source.replace("<body>", f"<body><script>{spy}</script>")
    Path(pytester.path, "spied.html").write_text(source, "utf-8")
    hear = "<title></title><script>onmessage = (e) => { document.title = e.data; };</script>"
    frame_of_400 = '<iframe src="spied.html" width="400" height="900" style="border: 0"></iframe>'
    dom = visit(pytester.path, hear + frame_of_400)
    assert f"<title>{len(evidence.cells)},true</title>" in dom
