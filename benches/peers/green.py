"""Limits this process to some of a GPU's SMs: a green context, made current before torch makes streams of its own."""

import ctypes

SM_RESOURCE = 1
DEFAULT_STREAM = 1


class Resource(ctypes.Structure):
    """CUdevResource of CUDA 12.4 and later; the count of SMs is the first word of its union."""

    _fields_ = [("type", ctypes.c_int), ("internal", ctypes.c_ubyte * 92), ("sm_count", ctypes.c_uint),
                ("rest", ctypes.c_ubyte * 44)]


def limit_sms(wanted, ordinal=0):
    """Makes a context with at least `wanted` SMs current on this thread; gives the number it has."""
    driver = ctypes.CDLL("libcuda.so.1")

    def call(name, *arguments):
        code = getattr(driver, name)(*arguments)
        if code != 0:
            raise RuntimeError(f"{name} failed with CUDA error {code}")

    device, primary = ctypes.c_int(), ctypes.c_void_p()
    call("cuInit", 0)
    call("cuDeviceGet", ctypes.byref(device), ordinal)
    call("cuDevicePrimaryCtxRetain", ctypes.byref(primary), device)
    call("cuCtxSetCurrent", primary)
    whole, part, rest = Resource(), Resource(), Resource()
    call("cuDeviceGetDevResource", device, ctypes.byref(whole), SM_RESOURCE)
    groups = ctypes.c_uint(1)
    call("cuDevSmResourceSplitByCount", ctypes.byref(part), ctypes.byref(groups), ctypes.byref(whole),
         ctypes.byref(rest), 0, wanted)
    description, green, context = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    call("cuDevResourceGenerateDesc", ctypes.byref(description), ctypes.byref(part), 1)
    call("cuGreenCtxCreate", ctypes.byref(green), description, device, DEFAULT_STREAM)
    call("cuCtxFromGreenCtx", ctypes.byref(context), green)
    call("cuCtxSetCurrent", context)
    return part.sm_count
