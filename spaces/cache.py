"""What a worker keeps between folds: encoded matrices and binned data, the least recently used dropped first."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any


class FoldCache:
    """Objects by key, bounded by their size in bytes; one worker process owns it, no locking.

    Args:
        limit_bytes: the sum of sizes above which the oldest entries go; one entry larger than half of it is not kept,
            as it would drive out what many trials share.
    """

    def __init__(self, limit_bytes: int = 1 << 30) -> None:
        self._entries: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._limit_bytes = limit_bytes
        self._size_bytes = 0

    def get(self, key: Hashable, make: Callable[[], Any], size_bytes: Callable[[Any], int]) -> Any:
        """The object under ``key``, made by ``make`` on the first call."""
        if key in self._entries:
            self._entries.move_to_end(key)
            return self._entries[key][0]
        value = make()
        size = size_bytes(value)
        if size <= self._limit_bytes // 2:
            self._entries[key] = (value, size)
            self._size_bytes += size
            while self._size_bytes > self._limit_bytes:
                _, (_, dropped) = self._entries.popitem(last=False)
                self._size_bytes -= dropped
        return value

    def __len__(self) -> int:
        return len(self._entries)
