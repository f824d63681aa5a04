"""How pytest hears a verdict."""

import pytest

from ivevidence import Criterion, Decision


def tell_pytest(decision: Decision, *, xfail_refuted: bool) -> None:
    """Turn a verdict into pytest's outcome, its message being the statistics."""
    lines = [f"{decision.verdict}: {decision.reason}"]
    lines += [f"  {criterion_line(criterion)}" for criterion in decision.criteria]
    message = "\n".join(lines)
    if decision.verdict == "refuted" and xfail_refuted:
        pytest.xfail(message)
    if decision.verdict == "refuted":
        pytest.fail(message, pytrace=False)
    if decision.verdict != "supported":
        pytest.skip(message)


def criterion_line(criterion: Criterion) -> str:
    """One criterion as a line of text."""

    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.3g}"

    bounds = f"[{number(criterion.low)}, {number(criterion.high)}]"
    test = "" if criterion.p_value is None else f", p={criterion.p_value:.2g}"
    return (
        f"{criterion.name}={number(criterion.estimate)} {bounds} against "
        f"{number(criterion.threshold)} (n={criterion.n}{test}): {criterion.outcome}"
    )
