"""Scores as people and programs read them."""

from collections.abc import Mapping

from show_attend_tell.metrics.caption_scores import Difference, Evaluation
from show_attend_tell.metrics.tokenization import PTB


def score_table(
    evaluation: Evaluation,
    other: Evaluation | None = None,
    differences: Mapping[str, Difference] | None = None,
) -> str:
    """Lays out scores with their 95 % intervals in lines.

    Args:
        evaluation: The scores.
        other: What they are compared with.
        differences: What `compare` says of both.
    """
    head = ["", "score", "95 % interval"]
    if differences is not None:
        head += ["other", "difference", "95 % interval"]
    rows = [head]
    for name, score in evaluation.scores.items():
        row = [name, _figure(name, score)]
        row.append(_span(name, evaluation.intervals.get(name)))
        if differences is not None and name in differences:
            difference = differences[name]
            row += [
                _figure(name, other.scores[name]),
                _figure(name, difference.value, "+"),
                _span(name, difference.interval, "+"),
            ]
        rows.append(row)
    widths = [
        max(len(row[k]) for row in rows if len(row) > k)
        for k in range(len(head))
    ]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(
                zip(row, widths, strict=False)
            )
        ).rstrip()
        for row in rows
    )


def _figure(name: str, value: float, sign: str = "") -> str:
    if name == "vocabulary":
        return f"{value:{sign}d}"
    return f"{value:{sign}.{2 if name == 'words' else 4}f}"


def _span(name, interval, sign: str = "") -> str:
    if interval is None:
        return ""
    return " to ".join(_figure(name, end, sign) for end in interval)


def left_out_lines(evaluation: Evaluation) -> list[str]:
    """Tells once for each reason what could not be run."""
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
    """Returns what `scores.json` holds: the scores on top, then the rest."""
    content = {
        **evaluation.scores,
        "intervals": evaluation.intervals,
        "tokenizer": evaluation.tokenizer,
        "left_out": evaluation.left_out,
        "images": len(evaluation.ids),
    }
    if differences is not None:
        content["differences"] = {
            name: {"value": found.value, "interval": found.interval}
            for name, found in differences.items()
        }
    return content
