"""A protocol -> its metrics, with the one detector that they share."""

from components.scoring.contracts import Metric
from registry.parts.catalogue import Catalogue
from registry.schema.protocol import Protocol


def build_metrics(protocol: Protocol, parts: Catalogue) -> list[Metric]:
    """The metrics of a protocol; its detector is built once, and only if a metric measures with it."""
    chosen = [parts.find("metric", choice.name) for choice in protocol.metrics]
    by_detector = any(info.fact("by_detector") for info in chosen)
    detector = parts.build("detector", protocol.detector.model_dump()) if by_detector else None
    return [parts.build("metric", choice.model_dump(), detector) for choice in protocol.metrics]
