"""A stand-in for NDIF, as a pytest plugin: requests are unpacked and run without our packages.

nnsight's local simulation unpacks a request, but runs the original code, and finds packages that
are installed. Here what came out of the request is run, on another copy of the model, in a process
that cannot import us. Only the transport is missing.
"""

import io
import os
import sys
from contextlib import contextmanager
from pathlib import Path

HUB_ID = "org/model"
FOLDER = "IVCLAIMS_TEST_NDIF_MODEL"
NOT_THERE = ("ivmethods", "ivfixtures", "ivevidence", "claims", "tests", "jaxtyping", "beartype")


class StandIn:
    """Serves one model. `requests`: the sizes of those that came in."""

    def __init__(self, network, tokenizer):
        from nnsight import TransformersModel

        self.model = TransformersModel(network.requires_grad_(True), tokenizer=tokenizer)
        self.requests = []

    def request(self, backend, envelope, tracer):
        import torch
        from nnsight.intervention.backends.remote import RemoteError

        blob = backend._serialize(tracer)
        self.requests.append(len(blob))
        try:
            with _without(NOT_THERE), torch.enable_grad():
                saved = self._run(blob, envelope.compress)
        except Exception as error:
            raise RemoteError(f"{type(error).__name__}: {error}") from error
        answer = io.BytesIO()
        torch.save(saved, answer)
        answer.seek(0)
        return torch.load(answer, map_location="cpu", weights_only=False)

    def _run(self, blob, compress):
        from nnsight.schema.request import RequestModel
        from nnsight.tracing.tracer import _saves

        known = self.model._remoteable_persistent_objects()
        request = RequestModel.deserialize(blob, known, compress)
        frame = request.info.frame
        given = dict(frame.f_locals)
        request.execute(request.info.code)
        return {
            name: value
            for name, value in frame.f_locals.items()
            if id(value) in _saves() and given.get(name) is not value
        }


def pytest_configure(config):
    """Serve the model in the folder that the environment names."""
    # Not before: other plugins do not survive nnsight's `object.save`.
    from nnsight.intervention.backends.remote import RemoteBackend
    from nnsight.modeling.huggingface import _ID_CACHE
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = Path(os.environ[FOLDER])
    network = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="sdpa").eval()
    server = StandIn(network, AutoTokenizer.from_pretrained(folder))
    _ID_CACHE[HUB_ID] = HUB_ID
    RemoteBackend.request = lambda backend, *sent: server.request(backend, *sent)


@contextmanager
def _without(roots):
    """Make packages impossible to import."""

    class Absent:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in roots:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    hidden = {
        name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] in roots
    }
    sys.meta_path.insert(0, absent := Absent())
    try:
        yield
    finally:
        sys.meta_path.remove(absent)
        sys.modules.update(hidden)
