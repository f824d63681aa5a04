"""All methods, by name."""

from collections.abc import Mapping

from ivmethods.method import Method
from ivmethods.model.methods import Behaviour, Runs
from ivmethods.patching.check_methods import NoOp, PatchingChecks
from ivmethods.patching.head_methods import (
    ActivationPatching,
    AttributionPatching,
    HeadNoOp,
    PairScores,
)
from ivmethods.patching.methods import AllLayers, Controls, LayerSweep
from ivmethods.paths.methods import Attribution, Paths
from ivmethods.probes.methods import InstructionResiduals, LayerProbe, Probes

METHODS: Mapping[str, type[Method]] = {
    method.name: method
    for method in (
        *(PatchingChecks, Behaviour, Runs, LayerSweep, NoOp, AllLayers, Controls),
        *(PairScores, HeadNoOp, ActivationPatching, AttributionPatching),
        *(Attribution, Paths, InstructionResiduals, Probes, LayerProbe),
    )
}
