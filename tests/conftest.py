"""Shapes in signatures are checked while our own tests run; the suite on random checkpoints."""

import os

import beartype  # noqa: F401 - before nnsight, whose `object.save` its import does not survive
import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

os.environ["HF_HUB_OFFLINE"] = "1"
settings.register_profile("ivclaims", deadline=None)
settings.load_profile("ivclaims")
install_import_hook("ivmethods", "beartype.beartype")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """A cache and state of the session's own, instead of the developer's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.setenv("XDG_STATE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def methods():
    """All methods, once: each run within a test would import them anew, and types be others."""
    import ivmethods.methods  # noqa: F401 - beartype keeps the classes that it has met first


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A small OLMo-2 with random weights, saved as a folder."""
    from tests.running import saved

    return saved("olmo2", tmp_path_factory.mktemp("random-olmo2"))


@pytest.fixture
def tasks(tmp_path):
    """A folder of two contrastive tasks."""
    from tests.running import write_tasks

    return write_tasks(tmp_path / "tasks")


@pytest.fixture
def judge(pytester, checkpoint, tasks):
    """Run `pytest --pyargs` on claims, in an empty folder; options may be added."""

    def run(
        *options,
        only=(
            "claims.instruction_vectors.test_localization",
            "claims.instruction_vectors.test_superadditivity",
        ),
    ):
        return pytester.runpytest_inprocess(
            *("--pyargs", *only, "--checkpoint", str(checkpoint), "--tasks", str(tasks)),
            *("--samples", "8", "-p", "no:cacheprovider", *map(str, options)),
        )

    return run
