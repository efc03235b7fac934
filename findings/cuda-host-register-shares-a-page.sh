#!/usr/bin/env bash
# Registering two ranges of host memory that share a page but no byte.
#
# Seen: NVIDIA H200, driver 580.159.04 (CUDA 13.0), Linux x86-64, 30 November 2026.
# The driver pins whole pages, and its manual lists CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED (712): one would guess that a second range on
# a page that is registered already is refused. It is taken: the driver compares bytes, not pages. Both ranges are unregistered on
# their own, and unregistering one leaves the other registered. Ranges that share one byte are refused.
#
# Needs an NVIDIA GPU and its driver, and Python 3; exits 77 without. Fails when the driver behaves otherwise.
set -euo pipefail
exec python3 - <<'PYTHON'
import ctypes, mmap, sys

try:
    cuda = ctypes.CDLL("libcuda.so.1")
except OSError:
    print("skipped: no NVIDIA driver")
    sys.exit(77)
if cuda.cuInit(0) != 0:
    print("skipped: no GPU")
    sys.exit(77)

def must(code, what):
    if code != 0:
        sys.exit(f"{what}: error {code}")

version, device, context = ctypes.c_int(), ctypes.c_int(), ctypes.c_void_p()
name = ctypes.create_string_buffer(128)
must(cuda.cuDriverGetVersion(ctypes.byref(version)), "cuDriverGetVersion")
must(cuda.cuDeviceGet(ctypes.byref(device), 0), "cuDeviceGet")
must(cuda.cuDeviceGetName(name, 128, device), "cuDeviceGetName")
must(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device), "cuDevicePrimaryCtxRetain")
must(cuda.cuCtxSetCurrent(context), "cuCtxSetCurrent")

memory = mmap.mmap(-1, 16 * mmap.PAGESIZE)
base = ctypes.addressof(ctypes.c_char.from_buffer(memory))

def register(offset, size):
    return cuda.cuMemHostRegister_v2(ctypes.c_void_p(base + offset), ctypes.c_size_t(size), 2)

def unregister(offset):
    return cuda.cuMemHostUnregister(ctypes.c_void_p(base + offset))

def registered(offset):
    flags = ctypes.c_uint()
    return cuda.cuMemHostGetFlags(ctypes.byref(flags), ctypes.c_void_p(base + offset)) == 0

seen = {
    "bytes 0 to 100": register(0, 100),
    "bytes 100 to 200 of the same page": register(100, 100),
    "bytes 150 to 250": register(150, 100),
    "unregister the first": unregister(0),
}
second = registered(100)
seen["unregister the second"] = unregister(100)
print(f"{name.value.decode()}, CUDA {version.value // 1000}.{version.value % 1000 // 10}: " + "; ".join(f"{what}: {code}" for what, code in seen.items())
      + f"; the second is registered after the first was unregistered: {second}")
if list(seen.values()) != [0, 0, 712, 0, 0] or not second:
    sys.exit("the driver behaves otherwise now")
PYTHON
