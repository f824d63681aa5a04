"""The audit of Tables 5-8: every count right, by other formulas, and the rule's error rates."""

import functools
import math
import os
import resource
import shlex
import subprocess
import sys
from collections import Counter, defaultdict
from decimal import Decimal, localcontext
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from claims.instruction_vectors import test_published_audit as claim
from claims.instruction_vectors.published import MODELS, PairTest, Printed, pair_tests
from claims.instruction_vectors.published import audit as auditing
from claims.instruction_vectors.published.audit import audited_columns, columns, degenerate
from ivevidence import read_evidence
from ivevidence.records.cells import Decision
from ivmethods.statistics.decoding import Decoding, PrintedTest, decode, printed_test
from ivmethods.statistics.univariate import holm

PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899")
N, RUNS, LEVEL = 100, 500, 0.05


# ------------------------------------------------------------------------ decoding, by brute force


def exact_t_and_p(count, n=N):
    """t and its two-sided p in 60 digits, from whole numbers: p = I_x((n - 1) / 2, 1 / 2).

    x = v / (v + t^2) is the ratio of whole numbers below, and for odd v the beta function is a
    rational multiple of pi.
    """
    with localcontext() as context:
        context.prec = 60
        spread, distance, v = count * (n - count), 50 * n - count, n - 1
        t = -distance * (Decimal(v) / spread).sqrt()
        x = Decimal(spread) / (spread + distance**2)
        beta = PI * math.prod(range(v - 2, 0, -2)) / 2 ** ((v - 1) // 2)
        beta /= math.factorial((v - 1) // 2)
        a, term, total = Decimal(v) / 2, Decimal(1), Decimal(0)
        for j in range(60):
            total += term
            term *= (a + Decimal("0.5") + j) / (a + 1 + j) * x
        return t, x**a * (1 - x).sqrt() / (a * beta) * total


@functools.cache
def exact_prints():
    """Counts by what they print as, from 60 digits."""
    found = defaultdict(list)
    found["-inf", "0.000e+00"] = [0, N]
    for count in range(1, N):
        found[tuple(four_digits(value) for value in exact_t_and_p(count))].append(count)
    return dict(found)


def four_digits(value):
    """A decimal as C and Python print floats: two digits of exponent at least."""
    mantissa, exponent = f"{value:.3e}".split("e")
    return f"{mantissa}e{exponent[0]}{exponent[1:]:0>2}"


def test_every_count_prints_the_same_in_sixty_digits():
    for text, counts in exact_prints().items():
        for count in counts:
            assert printed_test(count, N) == PrintedTest(*text)


def test_floats_are_exact_enough_for_four_digits():
    """What the docstring says: the error of p, and how far every number is from a rounding tie."""
    nearest = Decimal(1)
    for count in range(1, N):
        t, p = exact_t_and_p(count)
        assert abs(Decimal(float(2 * stats.t.sf(float(-t), N - 1))) / p - 1) < Decimal("2e-14")
        for value in (-t, p):
            digits = value.scaleb(3 - value.adjusted())
            nearest = min(nearest, abs(digits % 1 - Decimal("0.5")) / digits)
    assert Decimal("7e-7") < nearest < Decimal("8e-7")


def test_the_test_is_scipys_on_the_booleans():
    for count in range(1, N):
        held = np.arange(N) < count
        result = stats.ttest_1samp(held, 50.0)
        printed = PrintedTest(f"{result.statistic:.3e}", f"{result.pvalue:.3e}")
        assert printed == printed_test(count, N)


def test_every_count_comes_back_and_two_only_where_the_docstring_says():
    shared = set()
    for count in range(N + 1):
        found = decode(printed_test(count, N), N).counts
        assert count in found
        if len(found) > 1:
            shared.add(found)
    assert shared == {(0, 100), (45, 56), (50, 51)}


def test_p_tells_eleven_more_pairs_apart():
    by_t = defaultdict(list)
    for count in range(1, N):
        by_t[printed_test(count, N).t].append(count)
    alike = [tuple(counts) for counts in by_t.values() if len(counts) > 1]
    assert all(sum(counts) == N + 1 for counts in alike)
    resolved = [c for c in alike if len({printed_test(k, N).p for k in c}) == 2]
    assert len(resolved) == len(alike) - 2 == 11


@given(st.integers(2, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_any_count_of_any_number_of_samples_comes_back(drawn):
    count, n = drawn
    assert count in decode(printed_test(count, n), n).counts


def test_what_no_count_prints_is_flagged_with_the_nearest():
    assert decode(PrintedTest("-9.850e+02", "2.253e-199"), N) == Decoding((), N, 50)
    assert decode(PrintedTest("-1.508e+03", "1.377e-217"), N) == Decoding((), N, 88)
    assert decode(PrintedTest("-inf", "1.000e-03"), N) == Decoding((), N, 0)
    assert decode(PrintedTest("2.000e+00", "4.824e-02"), N).counts == ()
    flagged = decode(PrintedTest("-1.508e+03", "1.377e-217"), N)
    assert (flagged.least, flagged.most) == (0, N)


@pytest.mark.parametrize(("count", "n"), [(101, 100), (-1, 100), (0, 1), (1, 0)])
def test_an_impossible_count_is_one_line(count, n):
    with pytest.raises(ValueError, match="but should be from 0"):
        printed_test(count, n)


# ---------------------------------------------------------------------- the tables, cell by cell


def all_tests():
    return [test for column in audited_columns().values() for test in column]


def test_every_printed_test_decodes_to_what_sixty_digits_say():
    printed = [test for test in all_tests() if test.printed.t]
    assert len(printed) == 470
    for test in printed:
        text = test.printed.t.text, test.printed.p.text
        assert test.decoding.counts == tuple(exact_prints()[text]), test.printed


def test_the_tests_that_two_counts_fit():
    """All of them by table; those other than -inf one by one."""
    doubtful = [t for t in all_tests() if t.decoding and len(t.decoding.counts) > 1]
    found = Counter((t.printed.table, t.decoding.counts) for t in doubtful)
    assert found == {
        **{(5, (0, 100)): 7, (5, (50, 51)): 3},
        **{(6, (0, 100)): 46},
        **{(7, (0, 100)): 18, (7, (45, 56)): 3, (7, (50, 51)): 2},
        **{(8, (0, 100)): 14, (8, (45, 56)): 2, (8, (50, 51)): 3},
    }
    known = {
        (t.printed.model.name.removesuffix("-published"), t.printed.task, t.printed.layers)
        for t in doubtful
        if t.decoding.counts != (0, 100)
    }
    assert known == {
        ("olmo2-1b-base", "anim_color", (6, 8)),
        ("olmo2-1b-dpo", "anim_color", (5, 13)),
        ("olmo2-1b-dpo", "can_fly", (3, 7)),
        ("olmo2-7b-sft", "anim_color", (6, 8)),
        ("olmo2-7b-sft", "can_fly", (0, 4)),
        ("olmo2-7b-sft", "can_fly", (0, 5)),
        ("olmo2-7b-dpo", "anim_color", (8, 14)),
        ("olmo2-7b-dpo", "anim_color", (9, 14)),
        ("olmo2-7b-sft", "metaphor_boolean", (15, 24)),
        ("olmo2-7b-sft", "metaphor_boolean", (15, 23)),
        ("olmo2-7b-dpo", "implicatures", (12, 24)),
        ("olmo2-7b-base", "metaphor_boolean", (0, 5)),
        ("olmo2-7b-base", "snarks", (2, 4)),
    }


@pytest.mark.parametrize(
    ("size", "layers", "why"),
    [
        ("1b", (3,), "single layer"),
        ("1b", (15,), "single layer"),
        ("1b", (3, 15), "last block"),
        ("1b", (3, 14), ""),
        ("7b", (3, 15), ""),
        ("7b", (3, 31), "last block"),
        ("7b", (3, 30), ""),
    ],
)
def test_degenerate_tests_are_single_layers_and_pairs_with_the_last_block(size, layers, why):
    model = next(model for model in MODELS if model.size == size)
    test = PairTest(5, model, "adj_ant", layers, 1, Printed("-inf"), Printed("0.000e+00"))
    assert degenerate(test) == why


def independent_holm(p):
    """Step down by rejecting, from the definition: the smallest level that rejects each."""
    order = sorted(range(len(p)), key=p.__getitem__)
    worst, found = 0.0, {}
    for rank, k in enumerate(order):
        worst = max(worst, (len(p) - rank) * p[k])
        found[k] = min(1.0, worst)
    return [found[k] for k in range(len(p))]


def upper_tail(count):
    return sum(math.comb(N, k) for k in range(count, N + 1)) / 2**N


@functools.cache
def independent_verdicts():
    """Verdicts by table, model, task and layers, from 60 digits and whole-number binomials."""
    tables = defaultdict(list)
    for test in pair_tests():
        last = {"1b": 15, "7b": 31}[test.model.size]
        if test.t and len(test.layers) == 2 and last not in test.layers:
            tables[test.table].append(test)
    found = {}
    for table, tests in tables.items():
        counts = [exact_prints()[test.t.text, test.p.text] for test in tests]
        above = independent_holm([upper_tail(min(c)) for c in counts])
        below = independent_holm([upper_tail(N - max(c)) for c in counts])
        for test, more, less in zip(tests, above, below, strict=True):
            verdict = "supported" if more < LEVEL else "refuted" if less < LEVEL else "inconclusive"
            found[table, test.model.name, test.task, test.layers] = verdict
    return found


def test_every_verdict_is_what_whole_number_binomials_say():
    judged = {
        (t.printed.table, t.printed.model.name, t.printed.task, t.printed.layers): claim.verdict(t)
        for t in all_tests()
        if t.judged
    }
    assert judged == independent_verdicts()


def test_verdicts_by_table():
    found = {
        table: Counter(claim.verdict(t) for t in all_tests() if t.printed.table == table)
        for table in (5, 6, 7, 8)
    }
    assert found == {
        5: {"supported": 65, "refuted": 2, "inconclusive": 29, "not judged": 24},
        6: {"supported": 20, "refuted": 22, "inconclusive": 21, "not judged": 57},
        7: {"supported": 66, "refuted": 4, "inconclusive": 36, "not judged": 14},
        8: {"supported": 42, "refuted": 20, "inconclusive": 38, "not judged": 10}
        | {"not printed": 10},
    }


def test_verdicts_by_column():
    decisions = {place: claim.decide(column) for place, column in audited_columns().items()}
    found = Counter(decision.verdict for decision in decisions.values())
    assert found == {"supported": 6, "refuted": 18, "inconclusive": 23, "not_applicable": 1}
    for (model, task), decision in decisions.items():
        own = {v for (_, *at, _), v in independent_verdicts().items() if at == [model, task]}
        expected = next((v for v in ("refuted", "inconclusive", "supported") if v in own), None)
        assert decision.verdict == (expected or "not_applicable")
    strict = [claim.decide(column, ways=claim.TABLES) for column in audited_columns().values()]
    assert Counter(decision.verdict for decision in strict) == found
    assert claim.decide_all(strict).verdict == "refuted"


def test_columns_are_the_lists_by_rank_of_contrastive_and_by_logit_of_other_tasks():
    for column in audited_columns().values():
        printed = [test.printed for test in column]
        by = {match.metric: match for match in auditing.list_matches(printed)}
        own, other = ("rr", "logit") if printed[0].table in (5, 7) else ("logit", "rr")
        assert by[own].same
        assert by[own].shared == 10
        assert not by[other].same
        assert by[other].shared < 10
    twins = {
        at: auditing.twins([test.printed for test in column])
        for at, column in audited_columns().items()
    }
    assert twins["olmo2-7b-base-published", "object_counting"] == ("olmo2-7b-dpo-published",)
    assert sum(map(bool, twins.values())) == 6


# ------------------------------------------------------------------------------------- the rule


@given(st.lists(st.integers(0, N), min_size=1, max_size=30), st.data())
def test_raising_a_count_never_raises_an_adjusted_p(counts, data):
    """Hence the smallest and the largest counts of a table bound what the real ones give."""
    raised = [data.draw(st.integers(count, N)) for count in counts]
    before, after = (holm(np.array([upper_tail(c) for c in cs])) for cs in (counts, raised))
    assert (after <= before).all()


def made_up(counts):
    """Tests of a made-up table of the smaller models, [column, pair], that print these counts."""
    tasks = ("adj_ant", "adj_comp", "anim_color", "can_fly")
    return [
        PairTest(5, MODELS[c // 4], tasks[c % 4], (0, k + 1), k + 1, *prints()[count])
        for c, column in enumerate(counts)
        for k, count in enumerate(column)
    ]


@functools.cache
def prints():
    tests = [printed_test(count, N) for count in range(N + 1)]
    return [(Printed(test.t), Printed(test.p)) for test in tests]


def judged(counts):
    """Decision on the first column of a made-up table."""
    return claim.decide(next(iter(columns(made_up(counts)).values())))


@pytest.mark.parametrize(
    ("counts", "verdict", "said"),
    [
        ([90] * 8, "supported", "8 of 8 judged tests are significant"),
        ([90] * 7 + [50], "inconclusive", "7 of 8 judged tests are significant, not shown: 1"),
        ([90] * 7 + [45], "inconclusive", "not shown: 1"),
        ([90] * 7 + [20], "refuted", "on significantly less than half: 1"),
        ([90] * 6 + [20, 55], "refuted", "less than half: 1, not shown: 1"),
        ([90] * 7 + [100], "inconclusive", "open as several counts print alike: 1"),
        ([90] * 7 + [0], "inconclusive", "open as several counts print alike: 1"),
        ([90] * 6 + [0, 40], "inconclusive", "not shown: 1, open as several counts print alike: 1"),
        ([90] * 6 + [0, 20], "refuted", "open as several counts print alike: 1"),
    ],
)
def test_a_column_is_supported_by_all_of_its_tests_and_refuted_by_one(counts, verdict, said):
    decision = judged([counts, *[[90] * 8] * 11])
    assert decision.verdict == verdict
    assert said in decision.reason
    (criterion,) = decision.criteria
    outcomes = {"supported": "beyond", "refuted": "short", "inconclusive": "open"}
    assert criterion.outcome == outcomes[verdict]


def test_a_print_that_no_count_fits_is_open_and_said_to_be():
    tests = made_up([[90] * 10])
    tests[3] = PairTest(**{**vars(tests[3]), "t": Printed("-1.000e+00")})
    (column,) = columns(tests).values()
    assert claim.verdict(column[3]) == "inconclusive"
    assert claim.decide(column).verdict == "inconclusive"
    table = claim.exhibits.tests([column], claim.verdict)
    assert "none; 50 is nearest" in table.rows[3]
    assert "No count prints as row 4" in " ".join(claim.exhibits.notes(column))


@pytest.mark.parametrize("layers", [(3,), (3, 15)])
def test_degenerate_tests_decide_nothing_and_are_not_in_holms_family(layers):
    tests = made_up([[90] * 8, [66] * 8])
    made = [PairTest(**{**vars(test), "layers": layers}) for test in tests[:8]]
    found = columns([*made, *tests[8:]])
    degenerate_column, other = found.values()
    assert claim.decide(degenerate_column).verdict == "not_applicable"
    assert {claim.verdict(test) for test in degenerate_column} == {"not judged"}
    alone = next(iter(columns(tests[8:]).values()))
    assert [test.least for test in other] == [test.least for test in alone]


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        (["supported"] * 3, "supported"),
        (["supported", "not_applicable"], "supported"),
        (["supported", "inconclusive"], "inconclusive"),
        (["inconclusive", "refuted"], "refuted"),
    ],
)
def test_the_whole_is_supported_by_all_columns_and_refuted_by_one(parts, whole):
    assert claim.decide_all([Decision(verdict, "") for verdict in parts]).verdict == whole


def verdicts(shares, others, *, runs):
    """Verdicts on a column of 8 pairs that hold on these shares, among 11 columns of `others`."""
    generator = np.random.default_rng(0)
    world = np.full((12, 8), others)
    world[0] = shares
    return Counter(judged(generator.binomial(N, world)).verdict for _ in range(runs))


@pytest.mark.parametrize("others", [0.5, 0.9])
def test_one_pair_without_the_effect_is_rarely_overlooked(others):
    found = verdicts([0.5] + [0.9] * 7, others, runs=RUNS)
    assert max(found["supported"], found["refuted"]) <= LEVEL * RUNS


def test_pairs_on_half_of_the_samples_are_neither_shown_nor_refuted():
    assert verdicts(0.5, 0.9, runs=100)["inconclusive"] >= 95


@pytest.mark.parametrize(("share", "verdict"), [(0.8, "supported"), (0.25, "refuted")])
@pytest.mark.parametrize("others", [0.5, 0.8])
def test_pairs_that_hold_on_most_samples_or_on_few_are_told(share, verdict, others):
    assert verdicts([share] * 8, others, runs=100)[verdict] >= 95


def test_pairs_that_hold_nearly_always_stay_open_as_their_print_does_not_tell():
    assert verdicts(0.99, 0.9, runs=100)["inconclusive"] >= 90


# ---------------------------------------------------------------------------------- as users run it

HEAVY = ("torch", "transformers", "nnsight", "sklearn")
WATCH = """
import atexit, sys
atexit.register(lambda: print("imported:", [m for m in {heavy} if m in sys.modules]))
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The audit's file of claims in a fresh folder, watched for heavy imports."""
    folder = tmp_path_factory.mktemp("audit")
    words = [sys.executable, "-c", WATCH.format(heavy=HEAVY), str(Path(claim.__file__))]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    result = subprocess.run(
        [*words, "-p", "no:cacheprovider"],
        cwd=folder,
        capture_output=True,
        text=True,
        env=environment,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return result, folder, seconds


def test_the_audit_runs_in_seconds_and_without_torch(run):
    result, _, seconds = run
    assert result.returncode == pytest.ExitCode.TESTS_FAILED, result.stdout + result.stderr
    assert "imported: []" in result.stdout
    assert "19 failed, 6 passed, 24 skipped" in result.stdout
    assert "measurements:" not in result.stdout
    assert seconds < 10


def test_the_audit_leaves_evidence_that_needs_no_checkpoint(run):
    _, folder, _ = run
    evidence = read_evidence(folder / "reports" / "claims.evidence.json")
    assert not evidence.errors
    assert len(evidence.cells) == 49
    assert len({cell.cell_id for cell in evidence.cells}) == 49
    whole, *cells = evidence.cells
    assert (whole.checkpoint, whole.task) == ("olmo2-published", "all")
    tests = next(table for table in whole.tables if table.title == "The printed tests, decoded")
    assert len(tests.rows) == 480
    assert [cell.stage for cell in cells[::8]] == ["base", "sft", "dpo"] * 2
    for cell in evidence.cells:
        assert cell.figures
        assert not cell.measurements
        assert not cell.prompts
        assert "weights" not in cell.provenance
        assert "CC BY 4.0" in cell.provenance["source"]
        assert cell.command.startswith(
            "pytest --pyargs 'claims.instruction_vectors.test_published_audit::"
        )
        assert "--checkpoint" not in cell.command
    html = (folder / "reports" / "claims.html").read_text("utf-8")
    assert all(cell.checkpoint in html for cell in evidence.cells)


def test_tests_of_adjacent_columns_keep_the_order_of_the_paper():
    tables = [test.printed.table for test in all_tests()]
    assert all(a <= b for a, b in pairwise(tables))


def test_a_cells_command_judges_it_again_from_any_folder(run, pytester):
    _, folder, _ = run
    cell = read_evidence(folder / "reports" / "claims.evidence.json").cells[5]
    pytester.runpytest_inprocess(*shlex.split(cell.command)[1:], "-p", "no:cacheprovider")
    (again,) = read_evidence(pytester.path / "reports" / "claims.evidence.json").cells
    assert {**again.to_json(), "provenance": {}} == {**cell.to_json(), "provenance": {}}
