"""The resolved specs of arms, as text and as what differs from the baseline."""

import json
from typing import Any

from experiments.plan.plan import Plan
from registry import strict_yaml
from registry.schema.differences import differing


def specs_text(plan: Plan, form: str) -> str:
    """Return the resolved specs of the selected arms: YAML documents, or one JSON text with names and identities."""
    specs = [arm.spec.model_dump(mode="json") for arm in plan.selected]
    if form == "json":
        arms = [
            {"arm": arm.name, "identity": arm.identity, "axes": dict(arm.axes), "spec": spec}
            for arm, spec in zip(plan.selected, specs, strict=True)
        ]
        return json.dumps({"experiment": plan.name, "arms": arms}, indent=1) + "\n"
    heads = (f"# {plan.name}: {arm.name}, identity {arm.identity}\n" for arm in plan.selected)
    return "---\n".join(head + strict_yaml.dump(spec) for head, spec in zip(heads, specs, strict=True))


def differences(plan: Plan) -> list[dict[str, Any]]:
    """Return a row for each selected arm but the baseline: the resolved keys in which it differs from that."""
    baseline = plan.arms[0]
    return [
        {
            "arm": arm.name,
            "differences": [
                {"key": key, "baseline": old, "arm": new}
                for key, old, new in differing(baseline.spec.science(), arm.spec.science())
            ],
        }
        for arm in plan.selected
        if arm.identity != baseline.identity
    ]
