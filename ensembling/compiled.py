"""The loops of :mod:`foldsmith.ensembling.plain`, compiled by numba: one pass over the members' float32 columns.

Same functions, same arguments, same results up to rounding. Sums are float64. A candidate's value in a row is
``(1 - share) * blend + share * column``.
"""

import math
from typing import Any

import numpy as np
from numba import njit

CLIP = 1e-15
LINE = 512
LANES = 32
DEPTH = 16  # factors of at least 1e-15 that a product takes before its exponent must be split off
MANTISSA = np.int64((1 << 52) - 1)
ONE = np.int64(1023 << 52)
MINUS_ZERO = np.int64(-(1 << 63))

_compile: Any = njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz", "arcp"}, error_model="numpy")


@_compile
def log_loss(columns, blend, share, weight):  # type: ignore[no-untyped-def]
    """See :func:`foldsmith.ensembling.plain.log_loss`."""
    return _weighted_log_loss(columns, blend, share, weight) if len(weight) else _log_loss(columns, blend, share)


@_compile
def _log_loss(columns, blend, share):  # type: ignore[no-untyped-def]
    """Chances are multiplied, lane by lane, and only what is left at the end goes through a logarithm.

    After every few factors a lane's exponent is moved to an integer, so nothing underflows.
    """
    n_members, n_rows = columns.shape
    losses = np.empty(n_members)
    product = np.empty(LANES)
    bits = product.view(np.int64)
    exponent = np.empty(LANES, np.int64)
    block = LANES * DEPTH
    n_whole = n_rows // block * block
    rest = 1.0 - share
    for member in range(n_members):
        column = columns[member]
        product[:] = 1.0
        exponent[:] = 0
        for start in range(0, n_whole, block):
            for line in range(start, start + block, LANES):
                for lane in range(LANES):
                    chance = rest * blend[line + lane] + share * column[line + lane]
                    product[lane] *= min(max(chance, CLIP), 1.0)
            for lane in range(LANES):
                exponent[lane] += (bits[lane] >> 52) - 1023
                bits[lane] = (bits[lane] & MANTISSA) | ONE
        total = 0.0
        for lane in range(LANES):
            total += math.log(product[lane]) + exponent[lane] * math.log(2.0)
        for row in range(n_whole, n_rows):
            total += math.log(min(max(rest * blend[row] + share * column[row], CLIP), 1.0))
        losses[member] = -total / n_rows
    return losses


@_compile
def _weighted_log_loss(columns, blend, share, weight):  # type: ignore[no-untyped-def]
    n_members, n_rows = columns.shape
    losses = np.empty(n_members)
    rest = 1.0 - share
    whole = weight.sum()
    for member in range(n_members):
        column = columns[member]
        total = 0.0
        for row in range(n_rows):
            total += weight[row] * math.log(min(max(rest * blend[row] + share * column[row], CLIP), 1.0))
        losses[member] = -total / whole
    return losses


@_compile
def absolute(columns, blend, share, weight, y):  # type: ignore[no-untyped-def]
    """See :func:`foldsmith.ensembling.plain.absolute`; four members at a time, as in :func:`products`."""
    n_members, n_rows = columns.shape
    totals = np.empty(n_members)
    each = weight if len(weight) else np.ones(n_rows)
    away = (1.0 - share) * blend - y
    whole = n_members // 4 * 4
    for member in range(0, whole, 4):
        first, second = columns[member], columns[member + 1]
        third, fourth = columns[member + 2], columns[member + 3]
        total_1 = total_2 = total_3 = total_4 = 0.0
        for row in range(n_rows):
            base = away[row]
            mass = each[row]
            total_1 += mass * abs(base + share * first[row])
            total_2 += mass * abs(base + share * second[row])
            total_3 += mass * abs(base + share * third[row])
            total_4 += mass * abs(base + share * fourth[row])
        totals[member] = total_1
        totals[member + 1] = total_2
        totals[member + 2] = total_3
        totals[member + 3] = total_4
    for member in range(whole, n_members):
        column = columns[member]
        total = 0.0
        for row in range(n_rows):
            total += each[row] * abs(away[row] + share * column[row])
        totals[member] = total
    return totals / each.sum()


@_compile
def products(columns, y, other, weight, bounds):  # type: ignore[no-untyped-def]
    """See :func:`foldsmith.ensembling.plain.products`.

    Four members at a time, so that what they share is read once for the four. Rows are counted from 0 in slices: with
    an offset in the index the compiler does not vectorise the loop, which then takes five times as long.
    """
    n_members = len(columns)
    sums = np.zeros((len(bounds) - 1, n_members))
    whole = n_members // 4 * 4
    for fold in range(len(bounds) - 1):
        low, high = bounds[fold], bounds[fold + 1]
        right = other[low:high] * weight[low:high] if len(weight) else other[low:high]
        level = 0.0  # sum (c - y) r = sum c r - sum y r
        labels = y[low:high]
        for row in range(len(right)):
            level += labels[row] * right[row]
        for member in range(0, whole, 4):
            first, second = columns[member, low:high], columns[member + 1, low:high]
            third, fourth = columns[member + 2, low:high], columns[member + 3, low:high]
            total_1 = total_2 = total_3 = total_4 = 0.0
            for row in range(len(right)):
                factor = right[row]
                total_1 += first[row] * factor
                total_2 += second[row] * factor
                total_3 += third[row] * factor
                total_4 += fourth[row] * factor
            sums[fold, member] = total_1 - level
            sums[fold, member + 1] = total_2 - level
            sums[fold, member + 2] = total_3 - level
            sums[fold, member + 3] = total_4 - level
        for member in range(whole, n_members):
            column = columns[member, low:high]
            total = 0.0
            for row in range(len(right)):
                total += column[row] * right[row]
            sums[fold, member] = total - level
    return sums


@_compile
def squares(columns, y, weight, bounds):  # type: ignore[no-untyped-def]
    """See :func:`foldsmith.ensembling.plain.squares`."""
    n_members = len(columns)
    sums = np.zeros((len(bounds) - 1, n_members))
    for fold in range(len(bounds) - 1):
        low, high = bounds[fold], bounds[fold + 1]
        labels = y[low:high]
        each = weight[low:high] if len(weight) else np.ones(high - low)
        for member in range(n_members):
            column = columns[member, low:high]
            total = 0.0
            for row in range(len(labels)):
                away = column[row] - labels[row]
                total += each[row] * away * away
            sums[fold, member] = total
    return sums


@_compile
def binned_auc(columns, blend, share, weight, positive, bounds, origin, scale, low, shift, n_bins):  # type: ignore[no-untyped-def]
    """See :func:`foldsmith.ensembling.plain.binned_auc`.

    Two tables of counts take turns, so that an addition need not wait for the one before.
    """
    n_members = len(columns)
    losses = np.empty(n_members)
    weighted = len(weight) > 0
    counts = np.zeros(2 * n_bins, np.int32)
    others = np.zeros(2 * n_bins, np.int32)
    masses = np.zeros(2 * n_bins if weighted else 1)
    sides = np.empty(LINE, np.float32)
    bits = sides.view(np.int32)
    cells = np.empty(LINE, np.int32)
    is_high = np.empty(LINE, np.int32)
    away = (((1.0 - share) * blend - origin) * scale).astype(np.float32)
    slope = np.float32(share * scale)
    half = np.float32(0.5)
    one = np.float32(1.0)
    first = np.int32(low)
    by = np.int32(shift)
    last = np.int32(2 * (n_bins - 1))
    top = np.int32(n_bins // 2 - 1)
    for member in range(n_members):
        total = 0.0
        n_known = 0
        for fold in range(len(bounds) - 1):
            counts[:] = 0
            others[:] = 0
            masses[:] = 0.0
            for start in range(bounds[fold], bounds[fold + 1], LINE):
                n_here = min(LINE, bounds[fold + 1] - start)
                column = columns[member, start : start + n_here]
                base = away[start : start + n_here]
                label = positive[start : start + n_here]
                for place in range(n_here):
                    value = base[place] + slope * column[place]
                    sides[place] = min(value, one - value)
                    is_high[place] = np.int32(value > half)
                for place in range(n_here):
                    bin_ = min(max((bits[place] - first) >> by, np.int32(0)), top) * np.int32(2)
                    cells[place] = bin_ + is_high[place] * (last - bin_ - bin_) + label[place]
                if weighted:
                    for place in range(n_here):
                        masses[cells[place]] += weight[start + place]
                else:
                    for place in range(0, n_here - 1, 2):
                        counts[cells[place]] += np.int32(1)
                        others[cells[place + 1]] += np.int32(1)
                    if n_here % 2:
                        counts[cells[n_here - 1]] += np.int32(1)
            below = 0.0
            above = 0.0
            wins = 0.0
            for place in range(n_bins):
                negative = masses[2 * place] if weighted else float(counts[2 * place] + others[2 * place])
                found = masses[2 * place + 1] if weighted else float(counts[2 * place + 1] + others[2 * place + 1])
                wins += found * (below + 0.5 * negative)
                below += negative
                above += found
            if below > 0.0 and above > 0.0:
                total += wins / (below * above)
                n_known += 1
        losses[member] = 1.0 - total / n_known if n_known else np.nan
    return losses


@_compile
def exact_auc(values, positive, bounds, origin, scale, low, shift, n_bins):  # type: ignore[no-untyped-def]
    """See :func:`foldsmith.ensembling.plain.exact_auc`: rows are dealt into bins, and each bin is sorted by itself."""
    n_rows = len(values)
    keys = np.empty(n_rows, np.int64)
    bins = np.empty(n_rows, np.int32)
    dealt = np.empty(n_rows, np.int64)
    half = np.float32(0.5)
    one = np.float32(1.0)
    side = np.empty(1, np.float32)
    bits = side.view(np.int32)
    for row in range(n_rows):
        inside = np.float32((values[row] - origin) * scale)
        side[0] = min(inside, one - inside)
        bin_ = min(max((np.int64(bits[0]) - low) >> shift, 0), n_bins // 2 - 1)
        bins[row] = n_bins - 1 - bin_ if inside > half else bin_
    plain_bits = values.view(np.int64)
    for row in range(n_rows):
        key = plain_bits[row]
        key = np.int64(0) if key == MINUS_ZERO else key
        key = key ^ ((key >> 63) & 0x7FFFFFFFFFFFFFFF)
        keys[row] = (key & ~np.int64(1)) | positive[row]
    total = 0.0
    n_known = 0
    begins = np.empty(n_bins + 1, np.int64)
    for fold in range(len(bounds) - 1):
        first, last = bounds[fold], bounds[fold + 1]
        begins[:] = 0
        for row in range(first, last):
            begins[bins[row] + 1] += 1
        for place in range(n_bins):
            begins[place + 1] += begins[place]
        filled = begins.copy()
        for row in range(first, last):
            dealt[first + filled[bins[row]]] = keys[row]
            filled[bins[row]] += 1
        below = 0.0
        above = 0.0
        wins = 0.0
        for place in range(n_bins):
            start, stop = first + begins[place], first + begins[place + 1]
            if stop - start > 24:
                dealt[start:stop] = np.sort(dealt[start:stop])
            else:
                for row in range(start + 1, stop):
                    key = dealt[row]
                    at = row - 1
                    while at >= start and dealt[at] > key:
                        dealt[at + 1] = dealt[at]
                        at -= 1
                    dealt[at + 1] = key
            row = start
            while row < stop:
                value = dealt[row] >> 1
                negative = 0.0
                found = 0.0
                while row < stop and dealt[row] >> 1 == value:
                    found += dealt[row] & 1
                    negative += 1 - (dealt[row] & 1)
                    row += 1
                wins += found * (below + 0.5 * negative)
                below += negative
                above += found
        if below > 0.0 and above > 0.0:
            total += wins / (below * above)
            n_known += 1
    return 1.0 - total / n_known if n_known else np.nan


@_compile
def confusion_of_cuts(columns, blend, share, weight, y, cuts, n_classes):  # type: ignore[no-untyped-def]
    """See :func:`foldsmith.ensembling.plain.confusion_of_cuts`."""
    n_members, n_rows = columns.shape
    tables = np.zeros((n_members, n_classes, n_classes))
    rest = 1.0 - share
    weighted = len(weight) > 0
    counts = np.empty((n_classes, len(cuts)))
    totals = np.zeros(n_classes)
    for row in range(n_rows):
        totals[y[row]] += weight[row] if weighted else 1.0
    for member in range(n_members):
        column = columns[member]
        counts[:] = 0.0
        for row in range(n_rows):
            value = rest * blend[row] + share * column[row]
            for cut in range(len(cuts)):
                counts[y[row], cut] += (value >= cuts[cut]) * (weight[row] if weighted else 1.0)
        for code in range(n_classes):
            tables[member, code, 0] = totals[code] - counts[code, 0]
            for cut in range(1, len(cuts)):
                tables[member, code, cut] = counts[code, cut - 1] - counts[code, cut]
            tables[member, code, len(cuts)] = counts[code, len(cuts) - 1]
    return tables


@_compile
def confusion_of_threshold(columns, blend, share, weight, is_positive, threshold):  # type: ignore[no-untyped-def]
    """See :func:`foldsmith.ensembling.plain.confusion_of_threshold`."""
    n_members, n_rows = columns.shape
    each = weight if len(weight) else np.ones(n_rows)
    positive = each * is_positive
    bound = threshold - (1.0 - share) * blend
    called = np.zeros(n_members)
    right = np.zeros(n_members)
    whole = n_members // 2 * 2
    for member in range(0, whole, 2):
        first, second = columns[member], columns[member + 1]
        called_1 = called_2 = right_1 = right_2 = 0.0
        for row in range(n_rows):
            hit_1 = 1.0 if share * first[row] >= bound[row] else 0.0
            hit_2 = 1.0 if share * second[row] >= bound[row] else 0.0
            called_1 += hit_1 * each[row]
            called_2 += hit_2 * each[row]
            right_1 += hit_1 * positive[row]
            right_2 += hit_2 * positive[row]
        called[member], called[member + 1] = called_1, called_2
        right[member], right[member + 1] = right_1, right_2
    for member in range(whole, n_members):
        column = columns[member]
        for row in range(n_rows):
            hit = 1.0 if share * column[row] >= bound[row] else 0.0
            called[member] += hit * each[row]
            right[member] += hit * positive[row]
    tables = np.empty((n_members, 2, 2))
    tables[:, 1, 1] = right
    tables[:, 0, 1] = called - right
    tables[:, 1, 0] = positive.sum() - right
    tables[:, 0, 0] = each.sum() - positive.sum() - called + right
    return tables


@_compile
def confusion_of_classes(values, blend, share, weight, y, multipliers):  # type: ignore[no-untyped-def]
    """See :func:`foldsmith.ensembling.plain.confusion_of_classes`."""
    n_members, n_rows, n_classes = values.shape
    tables = np.zeros((n_members, n_classes, n_classes))
    rest = 1.0 - share
    weighted = len(weight) > 0
    for member in range(n_members):
        column = values[member]
        for row in range(n_rows):
            best = 0
            highest = multipliers[0] * (rest * blend[row, 0] + share * column[row, 0])
            for code in range(1, n_classes):
                value = multipliers[code] * (rest * blend[row, code] + share * column[row, code])
                best = code if value > highest else best
                highest = max(value, highest)
            tables[member, y[row], best] += weight[row] if weighted else 1.0
    return tables


@_compile
def signed_log_loss(values, blend, share, weight, y):  # type: ignore[no-untyped-def]
    """See :func:`foldsmith.ensembling.plain.signed_log_loss`."""
    n_members, n_rows, n_classes = values.shape
    losses = np.empty(n_members)
    rest = 1.0 - share
    weighted = len(weight) > 0
    whole = weight.sum() if weighted else float(n_rows)
    for member in range(n_members):
        column = values[member]
        total = 0.0
        for row in range(n_rows):
            mass = 0.0
            for code in range(n_classes):
                mass += min(max(rest * blend[row, code] + share * column[row, code], CLIP), 1.0)
            own = y[row]
            chance = min(max(rest * blend[row, own] + share * column[row, own], CLIP), 1.0)
            total += math.log(chance / mass) * (weight[row] if weighted else 1.0)
        losses[member] = -total / whole
    return losses
