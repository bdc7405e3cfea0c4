"""A background thread that prepares what its consumer will ask for next.

Consumer and thread talk through two queues. The consumer puts tasks into the one, never
more than `ahead` beyond what it has taken from the other; the thread works on them in
that order and puts the results into the other. So nothing waits on a full queue, and
stopping is one more task: a put is all that a finalizer may do, at whatever moment the
garbage collector runs it.
"""

from __future__ import annotations

import contextvars
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from ..backends import for_another_thread

STOP = object()
PATIENCE = 5.0  # seconds that stopping waits for the work in hand


class Prefetched:
    """An iterator over `work(task)` for each of `tasks`, made by a thread in order.

    ahead: how many results are made ready beyond the one that is being used.
    timeout: seconds to wait for one, else RuntimeError; 0 waits as long as it takes.
    begin: called in the thread before anything else.

    `tasks` is iterated in the consumer's thread. An exception of `work` or `tasks` is
    raised in the consumer in place of its result, with its own traceback, and ends the
    iteration. `work` may end it early by returning `STOP`.

    The thread runs in a copy of the context (grad mode, default device, NumPy's error
    handling) and on the CUDA stream that the consumer has when the iteration begins. It
    ends with the iteration, with `close`, when this object is collected, and at exit.
    """

    def __init__(
        self,
        tasks: Iterator,
        work: Callable[[Any], Any],
        ahead: int,
        timeout: float = 0,
        begin: Callable[[], None] | None = None,
    ) -> None:
        from queue import SimpleQueue
        from threading import Event, Thread

        self._tasks, self._timeout = tasks, timeout
        self._todo, self._done = SimpleQueue(), SimpleQueue()
        self._pending = 0
        stopped = Event()
        here = for_another_thread()
        run = contextvars.copy_context().run
        # The thread must not refer to this object, which could then never be collected.
        arguments = (_work_off, here, self._todo, self._done, stopped, work, begin)
        thread = Thread(
            target=run, args=arguments, name="tinygrad_softmax prefetch", daemon=True
        )
        thread.start()
        self._stop = weakref.finalize(self, _stop, stopped, self._todo, thread)
        for _ in range(ahead):
            self._ask()

    def _ask(self) -> None:
        """Give the thread one more task, if there is one."""
        try:
            task = next(self._tasks)
        except StopIteration:
            return
        except Exception as error:  # it belongs to the batch that would have come
            self._todo.put((error, None))
            self._tasks = iter(())
        else:
            self._todo.put((None, task))
        self._pending += 1

    def __iter__(self) -> Prefetched:
        return self

    def __next__(self) -> Any:
        if self._stop.alive:
            self._ask()
        if not self._pending:
            self.close()
            raise StopIteration
        error, result = self._take()
        self._pending -= 1
        if error is None and result is not STOP:
            return result
        self._pending = 0
        self.close()
        if error is None:
            raise StopIteration
        try:
            if isinstance(error, StopIteration):  # it would look like the end
                raise RuntimeError("the dataset raised StopIteration") from error
            raise error
        finally:
            del error  # its traceback refers to this frame, and this frame to it

    def _take(self) -> tuple[BaseException | None, Any]:
        from queue import Empty

        try:
            return self._done.get(timeout=self._timeout or None)
        except Empty:
            self._pending = 0
            self.close(wait=False)
            raise RuntimeError(
                f"DataLoader: no batch was ready within {self._timeout} seconds; mend: "
                "a longer timeout, or 0 to wait as long as it takes"
            ) from None

    def close(self, wait: bool = True) -> None:
        """Tell the thread to stop, and wait for it, but no longer than `PATIENCE`.

        A thread cannot be killed. One that is stuck in its work stays until it is done
        with it, and does not keep the interpreter from exiting.
        """
        if wait:
            self._stop()
        elif arguments := self._stop.detach():
            _stop(*arguments[2], wait=False)


def _work_off(
    here: Any,
    todo: Any,
    done: Any,
    stopped: Any,
    work: Callable[[Any], Any],
    begin: Callable[[], None] | None,
) -> None:
    """What the thread does."""
    try:
        with here:
            if begin is not None:
                begin()
            while (item := todo.get()) is not STOP and not stopped.is_set():
                error, task = item
                if error is not None:
                    raise error
                done.put((None, work(task)))
                del item, task
    except BaseException as error:
        done.put((error, None))


def _stop(stopped: Any, todo: Any, thread: Any, wait: bool = True) -> None:
    """Stop the thread: called by `close`, by the garbage collector, and at exit."""
    from threading import current_thread

    stopped.set()
    todo.put(STOP)
    if wait and thread is not current_thread():  # the collector may run anywhere
        thread.join(PATIENCE)
