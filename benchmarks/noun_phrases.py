r"""Noun phrases found by rule, beside those that people marked.

    python -m benchmarks.noun_phrases --boxes=ENTITIES --images=LIST

compares `pipelines.noun_phrases` with the phrases of Flickr30k Entities in the
captions of the images that a file lists: a phrase counts where both its ends
are the same.
"""

from collections.abc import Sequence

from absl import flags

from pipelines.boxes.flickr30k_entities import read_phrases
from pipelines.commands import no_arguments, run
from pipelines.files import read_text
from pipelines.noun_phrases import find_noun_phrases

_BOXES = flags.DEFINE_string(
    "boxes", None, "the folder of Flickr30k Entities", required=True
)
_IMAGES = flags.DEFINE_string(
    "images", None, "a list of file names, one a line", required=True
)
# One word that stands for a thing without naming it.
_PRONOUNS = frozenset(
    "all another both each he her him himself it itself one other others she "
    "someone something that them themselves there they which who".split()
)


def main(arguments: Sequence[str]) -> None:
    """Prints precision and recall."""
    no_arguments(arguments)
    marked = predicted = correct = pronouns = 0
    for id in read_text(_IMAGES.value).split():
        for words, spans in read_phrases(_BOXES.value, id):
            theirs, ours = set(spans), set(find_noun_phrases(words))
            marked += len(theirs)
            predicted += len(ours)
            correct += len(theirs & ours)
            pronouns += sum(
                stop - start == 1 and words[start] in _PRONOUNS
                for start, stop in theirs - ours
            )
    print(f"marked {marked}, found {predicted}, the same {correct}")
    print(f"precision {correct / predicted:.3f}, recall {correct / marked:.3f}")
    print(f"recall but of pronouns {correct / (marked - pronouns):.3f}")


if __name__ == "__main__":
    run(main)
