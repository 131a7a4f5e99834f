"""Attacks the project at random, and says what survived.

    python -m tests.faults CAMPAIGN --count=1000 --seed=1

tries the cases of a campaign (images, captions, runs, models, requests,
reports, kills) and prints what was tried, every fault with the command that
repeats it, and a row of the table in docs/results/faults.md. It exits with 1
if there were any.
"""

import argparse
import importlib.util
import os
import sys

from tests.faults import campaign

CAMPAIGNS = (
    "images", "captions", "runs", "models", "requests", "reports", "kills",
)  # fmt: skip


def main() -> int:
    available = [
        name
        for name in CAMPAIGNS
        if importlib.util.find_spec(f"tests.faults.{name}")
    ]
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("campaign", choices=available)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="first case")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--corpus", help="folder to keep what is made once in")
    parser.add_argument("--phase", help="of a run, that kills are tried in")
    options = parser.parse_args()
    if options.phase:
        os.environ[campaign.PHASE] = options.phase
    result = campaign.run(
        options.campaign, options.count, options.seed, options.first,
        options.workers, options.corpus,
    )  # fmt: skip
    print("\n".join([*result.lines(), "", result.row()]))
    return 1 if result.faults else 0


if __name__ == "__main__":
    sys.exit(main())
