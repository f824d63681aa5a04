"""Shapes in signatures are checked while our own tests run."""

import os

import beartype  # noqa: F401 - before nnsight, whose `object.save` its import does not survive
from hypothesis import settings
from jaxtyping import install_import_hook

os.environ["HF_HUB_OFFLINE"] = "1"
settings.register_profile("ivclaims", deadline=None)
settings.load_profile("ivclaims")
install_import_hook("ivmethods", "beartype.beartype")
