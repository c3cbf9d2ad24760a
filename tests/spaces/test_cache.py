from foldsmith.spaces.cache import FoldCache


def _keep(cache: FoldCache, key: str, size: int) -> list[str]:
    """Ask for ``key``; returns the keys made by this call."""
    made: list[str] = []
    cache.get(key, lambda: made.append(key) or key, lambda _: size)  # type: ignore[func-returns-value]
    return made


def test_an_object_is_made_once() -> None:
    cache = FoldCache(100)
    assert _keep(cache, "a", 10) == ["a"]
    assert _keep(cache, "a", 10) == []
    assert len(cache) == 1


def test_the_least_recently_used_goes_first() -> None:
    cache = FoldCache(100)
    _keep(cache, "a", 40)
    _keep(cache, "b", 40)
    _keep(cache, "a", 40)  # now b is the older one
    _keep(cache, "c", 40)
    assert len(cache) == 2
    assert _keep(cache, "a", 40) == []
    assert _keep(cache, "b", 40) == ["b"]


def test_an_object_above_half_of_the_limit_is_returned_but_not_kept() -> None:
    cache = FoldCache(100)
    _keep(cache, "small", 10)
    assert cache.get("big", lambda: "value", lambda _: 51) == "value"
    assert len(cache) == 1
    assert _keep(cache, "big", 51) == ["big"]
    assert _keep(cache, "small", 10) == []
    assert _keep(cache, "half", 50) == ["half"]
    assert _keep(cache, "half", 50) == []
