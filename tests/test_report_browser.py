"""The report in a real browser: what scripts do, and that data never become markup."""

import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from ivevidence import Prompt, render
from tests.evidence_examples import CHECKPOINTS, CLAIMS, example_cell

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
    return [
        replace(example_cell(claim, checkpoint, task, metric), prompts=(prompt,))
        for claim, metric in ((CLAIMS[0], None), (CLAIMS[1], "rr"))
        for checkpoint in (CHECKPOINTS[0], CHECKPOINTS[3])
        for task in ("adj_comp", "can_fly")
    ]


@pytest.fixture(scope="module")
def body(cells):
    return render(cells)


def browse(
    tmp_path, body: str, *, anchor: str = "", script: str = "", options=("--dump-dom",)
) -> str:
    """Return the page as it stands after loading, with `script` run at its end."""
    page = tmp_path / "report.html"
    head = '<!DOCTYPE html><html><head><meta charset="utf-8"><title>report</title></head>'
    page.write_text(f"{head}<body>{body}<script>{script}</script></body></html>", "utf-8")
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = [CHROMIUM, *OPTIONS, profile, *options, page.as_uri() + anchor]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def details(dom: str) -> dict[str, str]:
    return {m[2]: m[0] for m in re.finditer(r'<details ([^>]*)?id="(cell-[^"]*)"[^>]*>', dom)}


OPEN = "#cell-localization--tiny-olmo2-planted-sft-adj_comp"


def test_a_link_to_a_cell_opens_it_and_draws_only_its_figures(tmp_path, body, cells):
    dom = browse(tmp_path, body, anchor=OPEN)
    opened = [name for name, tag in details(dom).items() if re.search(r"\bopen\b", tag)]
    assert opened == [OPEN[1:]]
    cell = next(
        cell for cell in cells if cell.cell_id == "localization[tiny-olmo2-planted-sft-adj_comp]"
    )
    assert dom.count("<svg") == len(cell.figures) + 1
    assert dom.count("data-iv-packed=") == sum(bool(c.decision.criteria) for c in cells) - 1
    assert ">copy</button>" in dom


def test_markup_in_prompts_shows_as_text(tmp_path, body):
    dom = browse(tmp_path, body, anchor=OPEN)
    assert "<title>report</title>" in dom
    assert "&lt;script&gt;document.title='x'&lt;/script&gt;" in dom
    assert "<img" not in dom


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("claim", "superadditivity", 4),
        ("checkpoint", "tiny-olmo2-base", 4),
        ("task", "can_fly", 4),
        ("verdict", "not_applicable", 4),
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
    scriptless = re.sub(r"<script>.*?</script>", "", body, flags=re.DOTALL)
    dom = browse(tmp_path, scriptless)
    assert len(details(dom)) == len(cells)
    assert re.search(r"<form [^>]*hidden", dom)
    assert "Figures (drawn by a script" in dom


def test_the_page_can_be_photographed(tmp_path, body):
    browse(tmp_path, body, options=("--window-size=1200,900", f"--screenshot={tmp_path / 'p.png'}"))
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
