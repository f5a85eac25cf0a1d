"""The columns that a frame of results has whatever an experiment varies and measures; no axis has one of their names.

A row is a replicate. The paces are how fast a training was: medians of what it logged in system.jsonl, and the most
memory that its process had.
"""

FIXED = ("experiment", "arm", "seed", "identity", "state", "folder")
LOSS_PROTOCOL = "loss_protocol"  # what the validation loss is of, as nested plain values
PACE = ("clips_per_second", "matmul_peak_percentage", "data_wait_percentage", "peak_memory_megabytes")
RECORDED = ("data_digest", "protocols", "protocol_specs", "steps", "seconds", "parameters", *PACE, "made_by",
            LOSS_PROTOCOL)  # fmt: skip
