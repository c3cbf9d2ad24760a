"""The loops of :mod:`foldsmith.ensembling.plain`, compiled by numba: one pass over the members' float32 columns.

Same functions, same arguments, same results up to rounding. Sums are float64. A candidate's value in a row is
``(1 - share) * blend + share * column``.
"""

import math
from typing import Any

import numpy as np
from numba import njit

CLIP = 1e-15
LANES = 32
DEPTH = 16  # factors of at least 1e-15 that a product takes before its exponent must be split off
MANTISSA = np.int64((1 << 52) - 1)
ONE = np.int64(1023 << 52)

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
    """See :func:`foldsmith.ensembling.plain.absolute`."""
    n_members, n_rows = columns.shape
    losses = np.empty(n_members)
    rest = 1.0 - share
    whole = weight.sum() if len(weight) else float(n_rows)
    for member in range(n_members):
        column = columns[member]
        total = 0.0
        if len(weight):
            for row in range(n_rows):
                total += weight[row] * abs(rest * blend[row] + share * column[row] - y[row])
        else:
            for row in range(n_rows):
                total += abs(rest * blend[row] + share * column[row] - y[row])
        losses[member] = total / whole
    return losses


@_compile
def products(columns, y, other, weight, bounds):  # type: ignore[no-untyped-def]
    """See :func:`foldsmith.ensembling.plain.products`."""
    n_members = len(columns)
    sums = np.empty((len(bounds) - 1, n_members))
    for member in range(n_members):
        column = columns[member]
        for fold in range(len(bounds) - 1):
            total = 0.0
            if len(weight):
                for row in range(bounds[fold], bounds[fold + 1]):
                    total += weight[row] * (column[row] - y[row]) * other[row]
            else:
                for row in range(bounds[fold], bounds[fold + 1]):
                    total += (column[row] - y[row]) * other[row]
            sums[fold, member] = total
    return sums


@_compile
def binned_auc(columns, blend, share, weight, positive, bounds, origin, scale, low, shift, n_bins):  # type: ignore[no-untyped-def]
    """See :func:`foldsmith.ensembling.plain.binned_auc`."""
    n_members = len(columns)
    losses = np.empty(n_members)
    counts = np.empty(2 * n_bins)
    size = 512
    sides = np.empty(size, np.float32)
    bits = sides.view(np.int32)
    is_high = np.empty(size, np.bool_)
    rest = 1.0 - share
    weighted = len(weight) > 0
    for member in range(n_members):
        column = columns[member]
        total = 0.0
        n_known = 0
        for fold in range(len(bounds) - 1):
            counts[:] = 0.0
            for start in range(bounds[fold], bounds[fold + 1], size):
                n_here = min(size, bounds[fold + 1] - start)
                for place in range(n_here):
                    row = start + place
                    value = np.float32((rest * blend[row] + share * column[row] - origin) * scale)
                    is_high[place] = value > np.float32(0.5)
                    sides[place] = min(value, np.float32(1.0) - value)
                for place in range(n_here):
                    row = start + place
                    bin_ = max((bits[place] - low) >> shift, 0)
                    bin_ = n_bins - 1 - bin_ if is_high[place] else bin_
                    counts[2 * bin_ + positive[row]] += weight[row] if weighted else 1.0
            below = 0.0
            above = 0.0
            wins = 0.0
            for place in range(n_bins):
                wins += counts[2 * place + 1] * (below + 0.5 * counts[2 * place])
                below += counts[2 * place]
                above += counts[2 * place + 1]
            if below > 0.0 and above > 0.0:
                total += wins / (below * above)
                n_known += 1
        losses[member] = 1.0 - total / n_known if n_known else np.nan
    return losses


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
    tables = np.empty((n_members, 2, 2))
    rest = 1.0 - share
    weighted = len(weight) > 0
    whole = weight.sum() if weighted else float(n_rows)
    positives = 0.0
    for row in range(n_rows):
        positives += is_positive[row] * (weight[row] if weighted else 1.0)
    for member in range(n_members):
        column = columns[member]
        called = 0.0
        right = 0.0
        if weighted:
            for row in range(n_rows):
                hit = weight[row] * (rest * blend[row] + share * column[row] >= threshold)
                called += hit
                right += hit * is_positive[row]
        else:
            for row in range(n_rows):
                hit = 1.0 * (rest * blend[row] + share * column[row] >= threshold)
                called += hit
                right += hit * is_positive[row]
        tables[member, 1, 1] = right
        tables[member, 0, 1] = called - right
        tables[member, 1, 0] = positives - right
        tables[member, 0, 0] = whole - positives - called + right
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
