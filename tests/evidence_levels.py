"""What a record must hold so that the level its claim declares is backed."""

# How the names of measurements begin: of states that are changed, and of changes that should do
# nothing to the behaviour (another input of the kind, random vectors, other sites).
INTERVENTIONS = ("sweep ", "controls ", "all layers")
NULLS = ("controls ", "sweep contrast ")
NO_OPS = ("no-op ",)


def unbacked(cell):
    """What the record of a judged cell lacks for its claim's level."""
    level = cell.claim.level
    needed = {"an intervention": INTERVENTIONS} if level in ("L2", "L3") else {}
    if level == "L3":
        needed |= {"a no-op": NO_OPS, "a matched null": NULLS}
    lacking = [
        name
        for name, begins in needed.items()
        if not any(role.startswith(begins) for role in cell.measurements)
    ]
    if level == "L3":
        picking, samples = len(cell.parameters.get("picking samples", ())), len(cell.samples)
        judged_on = max((c.n for c in cell.decision.criteria), default=0)
        if not 0 < picking <= samples - judged_on:
            lacking.append("picking apart from deciding")
    return lacking
