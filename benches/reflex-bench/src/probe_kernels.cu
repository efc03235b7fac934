// The kernels that measure the device itself. The program carries them as PTX and lets the driver compile it, so that it builds without
// a CUDA toolkit. After a change here, in this folder:
//
//   nvcc -ptx -O3 -arch=compute_75 -o probe.ptx probe_kernels.cu
//   { echo 'R"ptx('; sed 's/^\.version .*/.version 7.4/; /^ *\/\//d' probe.ptx; echo ')ptx"'; } >probe_kernels.ptx.inc
//
// Version 7.4 of PTX is the oldest that has the cache hint below, and any driver of CUDA 12 takes it.
//
// `read` streams a buffer and keeps nothing: the ceiling for anything that has to read memory once. Loads bypass L1, since
// nothing is read twice, and `in_flight` of them are issued before the first is used.

__device__ __forceinline__ uint4 load(const uint4 *p) {
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(p));
    return v;
}

template <int in_flight>
__device__ __forceinline__ void read(const uint4 *data, unsigned long long count, unsigned *sink) {
    const unsigned long long stride = (unsigned long long)gridDim.x * blockDim.x;
    unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
    uint4 sum = make_uint4(0, 0, 0, 0);
    for (; i + (in_flight - 1) * stride < count; i += in_flight * stride) {
        uint4 v[in_flight];
#pragma unroll
        for (int j = 0; j < in_flight; ++j) v[j] = load(data + i + j * stride);
#pragma unroll
        for (int j = 0; j < in_flight; ++j) {
            sum.x ^= v[j].x;
            sum.y ^= v[j].y;
            sum.z ^= v[j].z;
            sum.w ^= v[j].w;
        }
    }
    for (; i < count; i += stride) {
        const uint4 v = load(data + i);
        sum.x ^= v.x ^ v.y ^ v.z ^ v.w;
    }
    // Next to never true, and the compiler cannot know: the loads stay.
    if ((sum.x ^ sum.y ^ sum.z ^ sum.w) == 0x9e3779b9u) *sink = sum.x;
}

extern "C" __global__ void reflex_bench_read4(const uint4 *data, unsigned long long count, unsigned *sink) {
    read<4>(data, count, sink);
}

extern "C" __global__ void reflex_bench_read8(const uint4 *data, unsigned long long count, unsigned *sink) {
    read<8>(data, count, sink);
}

extern "C" __global__ void reflex_bench_empty() {}
