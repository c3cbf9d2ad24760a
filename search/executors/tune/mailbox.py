"""Where Tune trials wait for their next job; imports nothing, so that its process stays small."""

import asyncio
from collections import defaultdict


class Mailbox:
    """An actor that hands each Tune trial its next job, pickled, or how it ends, when the driver has decided."""

    def __init__(self) -> None:
        self._boxes: defaultdict[str, asyncio.Queue[bytes | str]] = defaultdict(asyncio.Queue)

    async def post(self, trial_id: str, job: bytes) -> None:
        """The trial's next job."""
        self._boxes[trial_id].put_nowait(job)

    async def end(self, trial_id: str, state: str) -> None:
        """The trial gets no more jobs, not even one that it has not taken yet."""
        box = self._boxes[trial_id]
        while not box.empty():
            box.get_nowait()
        box.put_nowait(state)

    async def drop(self, trial_id: str) -> None:
        """The trial is gone: nobody will ask for its letters."""
        self._boxes.pop(trial_id, None)

    async def take(self, trial_id: str) -> bytes | str:
        """A trial's next letter, as soon as there is one."""
        letter = await self._boxes[trial_id].get()
        if isinstance(letter, str):
            del self._boxes[trial_id]
        return letter
