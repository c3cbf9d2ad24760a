"""GPU memory that this process holds."""

import logging
import os
import sys

from foldsmith.search.rig import nvml

logger = logging.getLogger(__name__)


def held_vram_bytes() -> int:
    """What the driver says this process holds on all GPUs; what PyTorch has reserved where the driver cannot tell.

    In a container the driver knows processes by other numbers.
    """
    return max(_by_driver(), _by_torch())


def _by_driver() -> int:
    try:
        with nvml() as pynvml:
            handles = [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(pynvml.nvmlDeviceGetCount())]
            processes = [
                process for handle in handles for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
            ]
            return sum(process.usedGpuMemory or 0 for process in processes if process.pid == os.getpid())
    except Exception as error:  # no driver, no library: as where GPUs are looked for, that ends no fold
        logger.debug("the driver does not tell GPU memory: %s: %s", type(error).__name__, error)
        return 0


def _by_torch() -> int:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return 0
    return int(torch.cuda.max_memory_reserved())
