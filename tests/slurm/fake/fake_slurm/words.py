"""What people write on a command line: options, job ids, durations, signals."""

import re
import signal
from collections.abc import Iterable, Mapping

from fake_slurm.cluster import Refused

Options = dict[str, str]


def parse(
    command: str,
    argv: list[str],
    names: Mapping[str, str],
    *,
    mixed: bool = False,
    code: int = 1,
    hint: bool = True,
) -> tuple[Options, list[str]]:
    """Options by their long names, and the other words.

    Args:
        command: who is asked; errors begin with it.
        argv: the words.
        names: long name -> its letter ("" for none), with a "=" where a value follows, "?" where one may.
        mixed: options may come after other words too; else the first other word ends them.
        code: the exit code of a usage error.
        hint: whether the error tells how to ask for help.
    """
    letters = {how.rstrip("=?"): name for name, how in names.items() if how.rstrip("=?")}
    options: Options = {}
    others: list[str] = []
    words = list(argv)

    def refuse(text: str) -> Refused:
        more = f'\nTry "{command} --help" for more information' if hint else ""
        return Refused(f"{command}: {text}{more}", code)

    while words:
        word = words.pop(0)
        if word == "--":
            return options, others + words
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            if name not in names:
                raise refuse(f"unrecognized option '{word}'")
        elif word.startswith("-") and len(word) > 1:
            if word[1] not in letters:
                raise refuse(f"invalid option -- '{word[1]}'")
            name, value = letters[word[1]], word[2:]
            equals = value
            if value and names[name][-1:] not in ("=", "?"):  # letters without values may stand together
                words.insert(0, "-" + value)
                equals = value = ""
        else:
            others.append(word)
            if not mixed:
                return options, others + words
            continue
        if names[name].endswith("=") and not equals:
            if not words:
                raise refuse(f"option '--{name}' requires an argument")
            value = words.pop(0)
        options[name] = value
    return options, others


def job_ids(words: Iterable[str], bad: str) -> list[tuple[str, int, list[int] | None]]:
    """(as written, job, elements or None) of ids such as 12, 12_3 or 12_[0-4,7%2], with commas or spaces between.

    Raises:
        Refused: no job id; with `bad` in front of what was written.
    """
    found = []
    for word in re.split(r"[,\s]+(?![^\[]*\])", ",".join(words)):
        match = re.fullmatch(r"(\d+)(?:_(?:(\d+)|\[([\d,-]+)(?:%\d+)?\]))?(?:[.+].*)?", word)
        if match is None:
            raise Refused(f"{bad}{word}")
        number, one, several = match.groups()
        found.append((word, int(number), indices(one or several) if one or several else None))
    return found


def indices(text: str) -> list[int]:
    """The numbers of 0-7, 1,3,5 or 0-10:2.

    Raises:
        ValueError: it is none of these.
    """
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part)
        if match is None:
            raise ValueError(text)
        first, last, step = match.groups()
        numbers += range(int(first), int(last or first) + 1, int(step or 1))
    return sorted(set(numbers))


def ranges(numbers: Iterable[int]) -> str:
    """0-3,7 for 0, 1, 2, 3, 7."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def minutes(text: str) -> float:
    """Slurm's durations: minutes, M:S, H:M:S, D-H, D-H:M, D-H:M:S.

    Raises:
        ValueError: it is none of these.
    """
    days, dash, rest = text.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if len(parts) > 3:
        raise ValueError(text)
    if dash:
        hours, minute, second = [*parts, 0, 0][:3]
        return int(days) * 1440 + hours * 60 + minute + second / 60
    hours, minute, second = (0, *parts, 0)[:3] if len(parts) < 3 else parts
    return hours * 60 + minute + second / 60


def clock(seconds: float) -> str:
    """1-02:03:04, 2:03:04 or 3:04, as squeue prints it."""
    minute, second = divmod(int(seconds), 60)
    hour, minute = divmod(minute, 60)
    days, hour = divmod(hour, 24)
    if days:
        return f"{days}-{hour:02}:{minute:02}:{second:02}"
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


def signal_number(text: str) -> int:
    """The number of USR2, SIGUSR2 or 12.

    Raises:
        ValueError: there is no such signal.
    """
    if text.isdigit():
        return int(text)
    name = text.upper() if text.upper().startswith("SIG") else f"SIG{text.upper()}"
    if name not in signal.Signals.__members__:
        raise ValueError(text)
    return int(signal.Signals[name])
