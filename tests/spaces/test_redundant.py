import numpy as np

from foldsmith.spaces.redundant import distinct_codes, distinct_numbers


def test_constants_and_copies_go_and_the_first_of_each_stays() -> None:
    nan = np.nan
    columns = [[1, 2, 3], [5, 5, 5], [1, 2, 3], [nan, nan, nan], [7, nan, 7], [7, nan, 7], [1, 2, 4]]
    assert distinct_numbers(np.array(columns, np.float32).T).tolist() == [0, 4, 6]


def test_codes_that_only_name_levels_differently_are_copies() -> None:
    columns = [[0, 1, 2, 0], [2, 0, 1, 2], [0, 1, 2, 2], [1, 1, 1, 1], [-1, 0, 0, -1], [-1, -1, -1, -1]]
    assert distinct_codes(np.array(columns, np.int32).T).tolist() == [0, 2, 4]


def test_nothing_gives_nothing() -> None:
    assert distinct_numbers(np.zeros((5, 0), np.float32)).tolist() == []
    assert distinct_codes(np.zeros((5, 0), np.int32)).tolist() == []
    assert distinct_numbers(np.zeros((1, 3), np.float32)).tolist() == []
