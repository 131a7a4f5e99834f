"""Processes that work for another one, and end with it."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable


def call_in_process(function: Callable, *arguments):
    """Calls a function in a new process, which ends with the call.

    It shares nothing with this one but the arguments and what comes of them,
    and ends at once when this one is interrupted or killed.

    Args:
        function: A function of a module.
        arguments: Whatever pickle takes.

    Returns:
        What the function returns; what it raises is raised.

    Raises:
        ChildProcessError: The process ended without an answer.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with ours:
        with theirs:
            process = context.Process(target=_answer, args=(theirs,))
            process.start()
        try:
            # Not with `start`, which would wait until the other has begun.
            ours.send((function, arguments))
            answer, error = ours.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            process.join()
            raise ChildProcessError(
                f"it ended with exit code {process.exitcode}"
            ) from None
        finally:
            process.kill()
            process.join()
    if error is not None:
        raise error
    return answer


def _answer(connection) -> None:
    end_with_parent()
    try:
        function, arguments = connection.recv()
    except EOFError:
        return  # The parent was interrupted.
    try:
        answer = function(*arguments), None
    except Exception as error:
        answer = None, error
    connection.send(answer)


def end_with_parent() -> None:
    """Ends this process when its parent ends, which it may not notice.

    Control-C reaches all processes of a terminal: it is left to the parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        parent = multiprocessing.parent_process()
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
