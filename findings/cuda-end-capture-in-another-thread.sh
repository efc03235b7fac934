#!/usr/bin/env bash
# Ending a CUDA stream capture in another thread than the one that began it.
#
# Seen: NVIDIA H200, driver 580.159.04 (CUDA 13.0), capture mode thread-local, 30 November 2026.
# The driver's manual says that such a capture must be ended by the thread that began it. cuStreamEndCapture in another thread answers
# CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD (908), as one would guess; but the refused call ends the capture all the same: right after it
# cuStreamIsCapturing says "none", and the thread that began the capture gets CUDA_ERROR_ILLEGAL_STATE (401) for its own, right, call.
# A program that treats the refusal as harmless has lost what it recorded.
#
# Needs an NVIDIA GPU and its driver, and Python 3; exits 77 without. Fails when the driver behaves otherwise.
set -euo pipefail
exec python3 - <<'PYTHON'
import ctypes, sys, threading

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

version, device, context, stream = ctypes.c_int(), ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
name = ctypes.create_string_buffer(128)
must(cuda.cuDriverGetVersion(ctypes.byref(version)), "cuDriverGetVersion")
must(cuda.cuDeviceGet(ctypes.byref(device), 0), "cuDeviceGet")
must(cuda.cuDeviceGetName(name, 128, device), "cuDeviceGetName")
must(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device), "cuDevicePrimaryCtxRetain")
must(cuda.cuCtxSetCurrent(context), "cuCtxSetCurrent")
must(cuda.cuStreamCreate(ctypes.byref(stream), 1), "cuStreamCreate")
memory = ctypes.c_uint64()
must(cuda.cuMemAlloc_v2(ctypes.byref(memory), ctypes.c_size_t(4096)), "cuMemAlloc")

def state():
    value = ctypes.c_int(-1)
    must(cuda.cuStreamIsCapturing(stream, ctypes.byref(value)), "cuStreamIsCapturing")
    return {0: "none", 1: "active", 2: "invalidated"}[value.value]

THREAD_LOCAL = 1
must(cuda.cuStreamBeginCapture_v2(stream, THREAD_LOCAL), "cuStreamBeginCapture")
must(cuda.cuMemsetD8Async(memory, ctypes.c_ubyte(1), ctypes.c_size_t(4096), stream), "cuMemsetD8Async")
before = state()
refused = []

def other():
    cuda.cuCtxSetCurrent(context)
    graph = ctypes.c_void_p()
    refused.append(cuda.cuStreamEndCapture(stream, ctypes.byref(graph)))

thread = threading.Thread(target=other)
thread.start()
thread.join()
after = state()
graph = ctypes.c_void_p()
own = cuda.cuStreamEndCapture(stream, ctypes.byref(graph))
print(f"{name.value.decode()}, CUDA {version.value // 1000}.{version.value % 1000 // 10}: capture {before}; "
      f"end in another thread: error {refused[0]}; then the capture is {after}; end in its own thread: error {own}")
if (before, refused[0], after) != ("active", 908, "none") or own == 0:
    sys.exit("the driver behaves otherwise now")
PYTHON
