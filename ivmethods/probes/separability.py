"""Linear separability itself: exact, by linear programming, and in the plane of an LDA."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Integer
from scipy import stats
from scipy.optimize import linprog
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

NO_PENALTY = 1e4
MAX_ITERATIONS = 10_000
SMALLEST_MARGIN = 1e-6  # in standard deviations; the solver's own tolerance is 1e-7


@dataclass(frozen=True, eq=False)
class Plane:
    """The two directions that set tasks apart most on one half of the samples.

    points: every sample in the plane, in units of the spread within a task. accuracy: share of the
    other half that is nearest to its own task's mean.
    """

    points: Float[np.ndarray, "sample 2"]
    accuracy: float


def linearly_separable(
    points: Float[np.ndarray, "sample d_model"], is_class: Bool[np.ndarray, " sample"]
) -> bool:
    """Whether some hyperplane has all samples of a class on one side and all others on the other.

    Exact to float error. Yes is a hyperplane whose sides were checked: that of a logistic
    regression with next to no penalty, or the one of largest margin, a linear program (HiGHS). No
    is a largest margin of zero.

    Raises:
        RuntimeError: the solver gives up.

    Source: section 5.1, "linearly separable clusters".
    """
    rows = _standardized(points)
    # Where there is a hyperplane, this nearly always finds one, far sooner than the program does.
    quick = LogisticRegression(C=NO_PENALTY, max_iter=MAX_ITERATIONS).fit(rows, is_class)
    if np.array_equal(quick.decision_function(rows) > 0, is_class):
        return True
    signed = np.where(is_class, 1.0, -1.0)[:, None] * np.column_stack([rows, np.ones(len(rows))])
    samples, width = signed.shape
    found = linprog(
        np.append(np.zeros(width), -1.0),  # the margin is the last variable
        A_ub=np.column_stack([-signed, np.ones(samples)]),
        b_ub=np.zeros(samples),
        bounds=[(-1.0, 1.0)] * width + [(0.0, None)],
        method="highs",
    )
    if found.status != 0:
        raise RuntimeError(
            f"solver status={found.status}, but should be 0 [linearly_separable, {samples} samples "
            f"of {width - 1} dimensions]; {found.message}"
        )
    return bool((signed @ found.x[:-1]).min() > SMALLEST_MARGIN)


def separable_by_chance(samples: int, dimensions: int) -> float:
    """Share of all labelings of points in general position that a hyperplane separates.

    Near 1 below two samples a dimension, near 0 above: there, and only there, being separable says
    something.

    Source: Cover 1965, IEEE Transactions on Electronic Computers EC-14:326, theorem 1.
    """
    return float(stats.binom.cdf(dimensions, samples - 1, 0.5))


def dimensions(points: Float[np.ndarray, "sample d_model"]) -> int:
    """The number of dimensions that the samples span around their mean."""
    return int(np.linalg.matrix_rank(_standardized(points)))


def lda_plane(
    points: Float[np.ndarray, "sample d_model"],
    labels: Integer[np.ndarray, " sample"],
    is_fitted: Bool[np.ndarray, " sample"],
) -> Plane:
    """Two-dimensional LDA fitted on one half of the samples and scored on the other.

    Two tasks have a single direction; the second coordinate is 0 then, and both are where all
    samples are the same.

    Source: appendix D, Figure 21. Deviation: the released script fits and plots the same rows.
    """
    classes = np.unique(labels)
    fitted = LinearDiscriminantAnalysis(solver="svd", n_components=min(2, len(classes) - 1))
    if np.ptp(points[is_fitted], axis=0).any():
        with np.errstate(invalid="ignore"):  # shares of no variance, where all means are the same
            flat = fitted.fit(points[is_fitted], labels[is_fitted]).transform(points)
    else:  # scikit-learn cannot fit it
        flat = np.zeros((len(points), 0))
    flat = np.column_stack([flat, np.zeros((len(flat), 2 - flat.shape[1]))])
    means = np.stack([flat[is_fitted & (labels == k)].mean(axis=0) for k in classes])
    distances = np.linalg.norm(flat[~is_fitted, None] - means, axis=2)
    nearest = classes[distances.argmin(axis=1)]
    return Plane(flat, float((nearest == labels[~is_fitted]).mean()))


def _standardized(points: np.ndarray) -> np.ndarray:
    """Centred, each coordinate at unit spread: a hyperplane stays one, and numbers stay tame."""
    centred = np.asarray(points, dtype=np.float64) - np.mean(points, axis=0, dtype=np.float64)
    spread = centred.std(axis=0)
    return centred / np.where(spread > 0, spread, 1.0)
