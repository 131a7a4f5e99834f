"""Times calls in turns, so that other work on the machine affects all alike."""

import time


def timed(call) -> tuple[float, float]:
    """Returns the wall and processor seconds of a call."""
    wall, processor = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - processor


def timed_in_turns(calls: dict, rounds: int) -> dict[str, list]:
    """Returns the times of calls by name, without the first, which warms up."""
    times = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            times[name].append(timed(call))
    return {name: measured[1:] for name, measured in times.items()}
