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
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(
                zip(row, widths, strict=True)
            )
        ).rstrip()
        for row in rows
    )


def _figure(name: str, value: float, sign: str = "") -> str:
    if name == "vocabulary":
        return f"{value:{sign}d}"
    return f"{value:{sign}.{2 if name == 'words' else 4}f}"


def _interval(name, interval, sign: str = "") -> str:
    return " to ".join(_figure(name, end, sign) for end in interval or ())


def left_out_lines(evaluation: Evaluation) -> list[str]:
    """Returns a line for each reason why something could not be run."""
    names = {}
    for name, reason in evaluation.left_out.items():
        names.setdefault(reason, []).append(name)
    lines = [f"without {', '.join(n)}: {reason}" for reason, n in names.items()]
    if evaluation.tokenizer != PTB:
        lines.append(
            f"words are those of the tokenizer {evaluation.tokenizer}; "
            "figures of the literature are by PTB and differ a little"
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
    if differences is not None:
        content["differences"] = {
            name: {"value": difference.value, "interval": difference.interval}
            for name, difference in differences.items()
        }
    return content
