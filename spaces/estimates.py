"""What a fold takes, reckoned from the shape of the table before any fold has run; measured peaks replace it later.

The numbers were fitted to peaks of single folds in fresh processes, on tables of 5,000 to 100,000 rows and 20 to 100
columns: an estimate lies between the peak and twice the peak there.
"""

from typing import TYPE_CHECKING

from foldsmith.spaces.dates import CYCLES, DATE_PARTS, n_gaps
from foldsmith.spaces.encoding import MANY_LEVELS, MAX_LEVELS
from foldsmith.spaces.scaling import N_PIECES, Scaling
from foldsmith.spaces.text import N_COMPONENTS, N_COUNTS

if TYPE_CHECKING:
    from foldsmith.spaces.family import Facts

MIB = 1 << 20

WORKER_BYTES = 170 * MIB  # a worker with NumPy, pandas, scikit-learn, Ray and a boosting library
TORCH_BYTES = 160 * MIB  # what PyTorch adds
CONTEXT_BYTES = 512 * MIB  # CUDA's own part of a GPU's memory, with a library's kernels
FIT_SHARE = 0.8  # of the rows are train rows, as in five folds


def n_tree_columns(facts: "Facts") -> int:
    """Columns of the matrix that trees are grown on."""
    schema = facts.schema
    text = (2 * N_COMPONENTS + N_COUNTS) * len(schema.text)
    dates = len(DATE_PARTS) * len(schema.datetime) + n_gaps(len(schema.datetime))
    return len(schema.numeric) + dates + text + len(schema.categorical)


def n_dense_columns(facts: "Facts", scaling: Scaling) -> int:
    """Columns of the matrix for linear models, distances and nets, or a few more: some levels get none."""
    schema = facts.schema
    dates = (len(DATE_PARTS) + 2 * len(CYCLES)) * len(schema.datetime) + n_gaps(len(schema.datetime))
    numbers = len(schema.numeric) + dates
    ramps = N_PIECES * numbers if scaling == "pieces" else 0
    sizes = [len(schema.categories[name]) for name in schema.categorical]
    levels = sum(min(MAX_LEVELS, size) + (facts.goal.n_outputs if size > MANY_LEVELS else 0) for size in sizes)
    return numbers + ramps + levels + (2 * N_COMPONENTS + N_COUNTS) * len(schema.text)


def matrix_bytes(facts: "Facts", n_columns: int) -> int:
    """All rows as float32."""
    return 4 * facts.n_rows * n_columns


def output_bytes(facts: "Facts") -> int:
    """Predictions, gradients and the copies made of them."""
    return 40 * facts.n_rows * facts.goal.n_outputs
