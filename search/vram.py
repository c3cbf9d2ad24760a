"""GPU memory that this process holds."""

import os
import sys


def held_vram_bytes() -> int:
    """What the driver says this process holds on all GPUs; what PyTorch has reserved where the driver cannot tell.

    In a container the driver knows processes by other numbers.
    """
    return max(_by_driver(), _by_torch())


def _by_driver() -> int:
    try:
        import pynvml
    except ImportError:
        return 0
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return 0
    try:
        held = 0
        for number in range(pynvml.nvmlDeviceGetCount()):
            device = pynvml.nvmlDeviceGetHandleByIndex(number)
            for process in pynvml.nvmlDeviceGetComputeRunningProcesses(device):
                if process.pid == os.getpid():
                    held += process.usedGpuMemory or 0
        return held
    except pynvml.NVMLError:
        return 0
    finally:
        pynvml.nvmlShutdown()


def _by_torch() -> int:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return 0
    return int(torch.cuda.max_memory_reserved())
