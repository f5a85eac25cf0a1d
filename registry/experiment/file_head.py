"""What the comments at the head of an experiment file say, by label: what the paper says, how it was read, the cost."""

import re
from pathlib import Path

_LABEL = re.compile(r"#\s?(?P<label>[A-Z]\w+(?: \w+)?):\s+(?P<text>\S.*)")
_MORE = re.compile(r"#\s{2,}(?P<text>\S.*)")
MOST = 4000  # characters of one label


def head_of(file: Path) -> dict[str, str]:
    """Return the labelled comments above the first key of an experiment file, such as `Paper` and `Reading`.

    A label is one or two words and a colon, `# Paper:   variant_1 is best`; lines below it that are indented go on
    with it. A file that cannot be read has none.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    found: dict[str, list[str]] = {}
    label = ""
    for line in lines:
        if not line.startswith("#"):
            break
        if named := _LABEL.fullmatch(line):
            label = named["label"]
            found.setdefault(label, []).append(named["text"].strip())
        elif label and (more := _MORE.fullmatch(line)):
            found[label].append(more["text"].strip())
        else:
            label = ""
    return {name: " ".join(texts)[:MOST] for name, texts in found.items()}
