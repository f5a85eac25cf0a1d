"""A protocol -> its metrics, with the detectors that they share."""

from components.scoring.contracts import Metric
from registry.parts.catalogue import Catalogue
from registry.schema.protocol import Protocol


def build_metrics(protocol: Protocol, parts: Catalogue) -> list[Metric]:
    """The metrics of a protocol: those by a detector once for each of its detectors, and first by the main one.

    Each detector is built once, and only if a metric measures with it.
    """
    chosen = [(choice.model_dump(), parts.find("metric", choice.name)) for choice in protocol.metrics]
    by_detector = [choice for choice, info in chosen if info.fact("by_detector")]
    detectors = [parts.build("detector", one.model_dump()) for one in protocol.detectors] if by_detector else [None]
    return [
        *(parts.build("metric", choice, detectors[0]) for choice, _ in chosen),
        *(parts.build("metric", choice, detector) for detector in detectors[1:] for choice in by_detector),
    ]
