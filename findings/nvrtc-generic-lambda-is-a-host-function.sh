#!/usr/bin/env bash
# A lambda in a kernel, as NVRTC and nvcc compile it.
#
# Seen: NVRTC 13.0.88 and nvcc 13.0.88 (PyPI), CPython 3.11, 1 December 2026.
# A lambda that is written in a kernel without annotations is device code for either compiler. One would guess that this holds for a generic
# lambda, too, whose parameter is `auto` or which has a template parameter (C++20): nvcc takes these. NVRTC takes a lambda without such
# parameters, and refuses these as host functions ("A function without execution space annotations ..."), unless -default-device is given.
# So a kernel that nvcc compiles may not compile at run time. A function template, or a struct with a member template, takes the place of
# the lambda in both.
#
# Needs Python 3, PyPI and a C++ compiler; no GPU. Fails when either compiler takes or refuses something else.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" --quiet --disable-pip-version-check install nvidia-cuda-nvrtc==13.0.88 nvidia-cuda-nvcc==13.0.88 \
  nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-runtime==13.0.96

"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import ctypes, pathlib, subprocess, sys, sysconfig

folder = pathlib.Path(sys.argv[1])
cuda = pathlib.Path(sysconfig.get_path("purelib"), "nvidia/cu13")
builtins = next(cuda.rglob("libnvrtc-builtins.so*"))
ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
nvrtc = ctypes.CDLL(str(next(p for p in cuda.rglob("libnvrtc.so*"))))


def by_nvrtc(source, *options):
    options = [b"-arch=compute_80", b"--std=c++20", *(o.encode() for o in options)]
    program = ctypes.c_void_p()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None)
    return nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options)) == 0


def by_nvcc(source):
    text = folder / "kernel.cu"
    text.write_text(source)
    done = subprocess.run([cuda / "bin/nvcc", "-arch=compute_80", "-std=c++20", "-ptx", "-o", folder / "kernel.ptx", text],
                          capture_output=True, text=True)
    if done.returncode and "error" not in done.stderr:
        sys.exit(done.stderr)
    return done.returncode == 0


kernel = 'extern "C" __global__ void k(int *y) { %s }'
# What nvcc takes, NVRTC, and NVRTC with -default-device.
wanted = {
    "auto f = [&](int i) { y[i] = i; }; f(3);": (True, True, True),
    "auto f = [&](auto i) { y[i] = i; }; f(3);": (True, False, True),
    "auto f = [&]<typename T>(T i) { y[i] = i; }; f(3);": (True, False, True),
}
changed = 0
for body, want in wanted.items():
    source = kernel % body
    seen = (by_nvcc(source), by_nvrtc(source), by_nvrtc(source, "-default-device"))
    print(f"{body}: nvcc, NVRTC, NVRTC -default-device: {seen}")
    changed += seen != want
sys.exit(changed)
PYTHON
