"""Scores as a table, as notes, and as JSON."""

from collections.abc import Mapping

from show_attend_tell.metrics.caption_scores import Difference, Evaluation
from show_attend_tell.metrics.tokenization import PTB


def score_table(
    evaluation: Evaluation,
    other: Evaluation | None = None,
    differences: Mapping[str, Difference] | None = None,
) -> str:
    """Formats scores with their 95 % intervals as lines.

    With `other` and `differences`, what `compare` returned of both, each line
    has the other score and the difference as well.
    """
    rows = [["", "score", "95 % interval"]]
    if differences is not None:
        rows[0] += ["other", "difference", "95 % interval"]
    for name, score in evaluation.scores.items():
        row = [name, _figure(name, score)]
        row.append(_interval(name, evaluation.intervals.get(name)))
        if name in (differences or {}):
            difference = differences[name]
            row += [
                _figure(name, other.scores[name]),
                _figure(name, difference.value, "+"),
                _interval(name, difference.interval, "+"),
            ]
        rows.append(row + [""] * (len(rows[0]) - len(row)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(
                zip(row, widths, strict=True)
            )
        ).rstrip()
        for row in rows
    ]
    undefined = {**(other.undefined if other else {}), **evaluation.undefined}
    return "\n".join([*lines, *undefined_lines(undefined)])


def undefined_lines(undefined: Mapping[str, str]) -> list[str]:
    """Returns a line for each reason why scores are undefined."""
    return [
        f"{', '.join(names)}: undefined, because {reason}"
        for reason, names in _by_reason(undefined).items()
    ]


def _by_reason(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    names = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(name)
    return names


def _figure(name: str, value: float | None, sign: str = "") -> str:
    if value is None:
        return "undefined"
    if name == "vocabulary":
        return f"{value:{sign}d}"
    return f"{value:{sign}.{2 if name == 'words' else 4}f}"


def _interval(name, interval, sign: str = "") -> str:
    return " to ".join(_figure(name, end, sign) for end in interval or ())


def left_out_lines(evaluation: Evaluation) -> list[str]:
    """Returns a line for what could not be run, and for what limits scores."""
    left_out = _by_reason(evaluation.left_out)
    lines = [
        f"without {', '.join(n)}: {reason}" for reason, n in left_out.items()
    ]
    if evaluation.tokenizer != PTB:
        lines.append(
            f"words are those of the tokenizer {evaluation.tokenizer}; "
            "figures of the literature are by PTB and differ a little"
        )
    captions, references = evaluation.wordless
    if captions or references:
        lines.append(
            f"{captions} of {len(evaluation.ids)} captions have no words, and "
            f"{references} references; they match nothing"
        )
    return lines


def as_json(
    evaluation: Evaluation,
    differences: Mapping[str, Difference] | None = None,
) -> dict:
    """Returns the content of `scores.json`: the scores, then the rest."""
    content = {
        **evaluation.scores,
        "intervals": evaluation.intervals,
        "tokenizer": evaluation.tokenizer,
        "left_out": evaluation.left_out,
        "images": len(evaluation.ids),
    }
    if evaluation.undefined:
        content["undefined"] = evaluation.undefined
    if any(evaluation.wordless):
        content["wordless"] = dict(
            zip(("captions", "references"), evaluation.wordless, strict=True)
        )
    if differences is not None:
        content["differences"] = {
            name: {"value": difference.value, "interval": difference.interval}
            for name, difference in differences.items()
        }
    return content
