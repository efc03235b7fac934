/* reflex-infer: low-latency inference kernels for edge NVIDIA GPUs.
 *
 * Generated from the Rust sources by `./dev header`; do not edit.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Contents
 *
 *    1  Types: The types that every call uses: statuses, element types, tensors and streams, and what the library was
 *       built with.
 *       1.1 status, 1.2 error, 1.3 dtype, 1.4 tensor, 1.5 weight, 1.6 kv cache, 1.7 size, 1.8 stream, 1.9 build info
 *    2  Runtime: Contexts, and what is made through them, on either backend: streams, memory, events and graphs.
 *       `reflex_context_create` says what a child process may do with them after `fork`.
 *       2.1 context, 2.2 stream, 2.3 memory, 2.4 event, 2.5 graph
 *    3  Device and telemetry: What the device is, and how it is doing: profiles and budgets for planning, telemetry,
 *       energy.
 *       3.1 device info, 3.2 profile, 3.3 reading, 3.4 telemetry, 3.5 budget, 3.6 sampler
 *    4  activation: an activation function of one tensor, times another where there is one.
 *    5  add: the sum of two tensors.
 *    6  argmax: the index of the largest element of each row.
 *    7  attention: attention of many queries over a KV cache.
 *    8  rope: rotary position embedding of queries and keys, fused with the norms of the heads and the append to a
 *       cache.
 *    9  attention_decode: attention of a decode step over a KV cache, optionally fused with the norms of the heads, the
 *       rotation and the append of the new key and value.
 *   10  attention_merge: the attention of queries over two sets of keys, put together from that over each.
 *   11  embedding: rows of a table by ids.
 *   12  matmul: products of one x with up to three weights, fused with norm, bias, activation, residual and
 *       quantisation.
 *   13  norm: RMS norm of rows, with an optional sum with a residual before it.
 *   14  quantize: quantisation of activations to 8 bits.
 *   15  sample: a token drawn from each row of logits.
 *   16  softcap: values kept within a bound by a hyperbolic tangent.
 *   17  softmax: exponentials of rows, divided by their sum, or the logarithms of these.
 *   18  weights_pack and weights_unpack: conversion of weights between the arrangement of a GGUF file and the packed
 *       one.
 *
 * Every struct that has one of these fields means the same by it:
 *   `struct_size`: The caller sets it to `sizeof` of the struct that it was compiled with, as `REFLEX_<STRUCT>_INIT`
 *     does in C and `reflex::params` in C++.
 *   `workspace_size`: Bytes of `workspace`.
 *   `reserved`: The caller leaves it 0.
 */

#ifndef REFLEX_INFER_H
#define REFLEX_INFER_H

#include <stddef.h>
#include <stdint.h>

/* The tag that cudaStream_t and CUstream use. */
struct CUstream_st;

#ifdef __cplusplus
extern "C" {
#endif

/* =====================================================================================================================
 * 1. Types
 *
 * The types that every call uses: statuses, element types, tensors and streams, and what the library was built with.
 */

/* ---------------------------------------------------------------------------------------------------------------------
 * 1.1 status
 * Statuses: their numbers in C, which never change, and their names.
 */

// What a call returned. Numbers are fixed for ever; new ones are appended.
// `reflex_last_error_message` tells more about anything but `REFLEX_SUCCESS`.
typedef int32_t reflex_status;

// The call did what it says; a launch was put on the stream.
#define REFLEX_SUCCESS 0

// An argument is null, out of range, of the wrong shape or inconsistent with another.
#define REFLEX_INVALID_ARGUMENT 1

// The call is valid, but this library has no kernel for it on this device: the engine may fall back to its own.
#define REFLEX_UNSUPPORTED 2

// The device is older than the oldest supported one, or no kernel image was built for it.
#define REFLEX_UNSUPPORTED_DEVICE 3

// The workspace in the params is smaller than `reflex_<op>_workspace_size` says.
#define REFLEX_WORKSPACE_TOO_SMALL 4

// A pointer or stride is not a multiple of what the element type needs.
#define REFLEX_MISALIGNED 5

// `struct_size` does not fit this library: too small, or larger with a tail that is not zero.
#define REFLEX_ABI_MISMATCH 6

// CUDA was asked for and there is no usable driver or device.
#define REFLEX_NO_DRIVER 7

// CUDA was asked for and this library was built without kernels.
#define REFLEX_NOT_BUILT 8

// The CUDA driver returned an error, whose name the message holds, or the object was made before `fork`.
#define REFLEX_CUDA_ERROR 9

// Host or device memory is exhausted.
#define REFLEX_OUT_OF_MEMORY 10

// The library has a defect. Please report it with the message.
#define REFLEX_INTERNAL 11

// Returns the constant's name for a status, `"REFLEX_UNKNOWN_STATUS"` for any other number. The string is never null
// and lives as long as the program.
const char *reflex_status_string(reflex_status status);

/* ---------------------------------------------------------------------------------------------------------------------
 * 1.2 error
 * Errors: a status with a message, and the last message of each thread.
 */

// The message of the last call on this thread that did not return `REFLEX_SUCCESS`; empty when there was none. It
// names op, field, value and requirement. The pointer is never null, and valid until the next failing call on this
// thread.
const char *reflex_last_error_message(void);

/* ---------------------------------------------------------------------------------------------------------------------
 * 1.3 dtype
 * Element types: their numbers in C, and the facts of their blocks.
 */

// Element type of a tensor. The library's own types are 1..255; GGUF block formats are 0x100 + their ggml type number.
// A block format counts elements in `shape`; its blocks are contiguous along the last dimension. A GGUF block format with
// `REFLEX_DTYPE_PACKED` or-ed to it is packed; `REFLEX_DTYPE_ACT_I8` has a row layout of its own. Every other number is no
// type: ops refuse it with a message that prints it, and its sizes are 0.
typedef uint32_t reflex_dtype;

// No type: the value of a zeroed tensor.
#define REFLEX_DTYPE_NONE 0

// IEEE 754 binary32.
#define REFLEX_DTYPE_F32 1

// IEEE 754 binary16.
#define REFLEX_DTYPE_F16 2

// bfloat16.
#define REFLEX_DTYPE_BF16 3

// 32-bit signed integer: token ids, positions, lengths, slots.
#define REFLEX_DTYPE_I32 4

// Activations in 8 bits with a scale for each 32, written by ops for a matmul to read: 40 bytes for 32 elements, `d * q` each.
// A row of k elements (a multiple of 32) is k signed bytes q, then k / 32 records of 8 bytes
// `{ float d; int16_t s0, s1; }`, s0 the sum of the block's first 16 q and s1 of its last 16. Data and strides between
// rows are multiples of 16, so that contiguous rows, where there are several, have a multiple of 64 elements. ggml's Q8_1
// (0x109) is another layout and no type of this library.
//
// For 32 elements x with `a = max |x|`, d is `a / 127`, and q is `x * (127 / a)` rounded to nearest even, in f32. Where
// `127 / a` is infinite (a below about 3.7e-37), d and q are 0. A NaN among x makes d NaN and q 0. Where a is infinite, d is
// infinity, q 127 or -127 for the infinities and 0 for the rest.
#define REFLEX_DTYPE_ACT_I8 5

// GGUF Q4_0: 32 elements in 18 bytes.
#define REFLEX_DTYPE_Q4_0 258

// GGUF Q4_1: 32 elements in 20 bytes.
#define REFLEX_DTYPE_Q4_1 259

// GGUF Q5_0: 32 elements in 22 bytes.
#define REFLEX_DTYPE_Q5_0 262

// GGUF Q5_1: 32 elements in 24 bytes.
#define REFLEX_DTYPE_Q5_1 263

// GGUF Q8_0: 32 elements in 34 bytes.
#define REFLEX_DTYPE_Q8_0 264

// GGUF Q2_K: 256 elements in 84 bytes.
#define REFLEX_DTYPE_Q2_K 266

// GGUF Q3_K: 256 elements in 110 bytes.
#define REFLEX_DTYPE_Q3_K 267

// GGUF Q4_K: 256 elements in 144 bytes.
#define REFLEX_DTYPE_Q4_K 268

// GGUF Q5_K: 256 elements in 176 bytes.
#define REFLEX_DTYPE_Q5_K 269

// GGUF Q6_K: 256 elements in 210 bytes.
#define REFLEX_DTYPE_Q6_K 270

// GGUF IQ4_NL: 32 elements in 18 bytes.
#define REFLEX_DTYPE_IQ4_NL 276

// GGUF IQ4_XS: 256 elements in 136 bytes.
#define REFLEX_DTYPE_IQ4_XS 279

// GGUF TQ2_0, quants of -1, 0 and 1: 256 elements in 66 bytes.
#define REFLEX_DTYPE_TQ2_0 291

// GGUF MXFP4, the OCP Microscaling format: 32 elements in 17 bytes.
#define REFLEX_DTYPE_MXFP4 295

// This bit, or-ed to a GGUF block format, says that `reflex_weights_pack` made the tensor. A packed tensor is `[n, k]`
// and dense, its data is 16-byte aligned, and it has as many bytes as the native one.
#define REFLEX_DTYPE_PACKED 4096

// The type of a tensor in a GGUF file from its ggml type number, `REFLEX_DTYPE_NONE` where this library has none.
reflex_dtype reflex_dtype_from_ggml(uint32_t ggml_type);

// The type's name, `"Q4_K"` or `"Q4_K_PACKED"` for example; `"unknown"` for a number that is none. Never null.
const char *reflex_dtype_name(reflex_dtype dtype);

// Elements in one block: 1 for plain types, 32 or 256 for block formats, packed or not, 0 for a number that is no type.
uint32_t reflex_dtype_block_elements(reflex_dtype dtype);

// Bytes of one block (of one element, for plain types), 0 for a number that is no type.
uint32_t reflex_dtype_block_bytes(reflex_dtype dtype);

/* ---------------------------------------------------------------------------------------------------------------------
 * 1.4 tensor
 * Tensors: the one type that every operand of an op has.
 */

// A view of an operand: the caller's memory, never owned by the library.
//
// `data == NULL` means the operand is absent. `shape` and `stride` are outermost first; entries from `rank` on are
// ignored. Strides are in bytes and not negative; all zero means contiguous. A block format counts elements in
// `shape`; its last stride is the bytes of one block. Pointers and strides must be multiples of the element size (2
// for GGUF block formats, 1 for MXFP4, 16 for ACT_I8). A stride over a dimension of size 1, or over the only block of
// a row, is not looked at and may be any number, if not all are zero. A tensor with a dimension of 0 has no bytes, and
// none of its strides is looked at.
//
// An output shares no byte with another operand, and no two elements of an output share one. The one exception is in
// place: where an op says so, an output may be exactly an input, with the same address, type, shape and strides. Views
// that interleave without a common byte do not overlap.
typedef struct reflex_tensor {
    // Address of the first element: on the device, or on the host with the CPU backend. NULL: the operand is absent.
    void *data;
    // `REFLEX_DTYPE_*`.
    reflex_dtype dtype;
    // Number of dimensions, 1 to 4.
    uint32_t rank;
    // Elements of each dimension, outermost first.
    int64_t shape[4];
    // Bytes from one element of each dimension to the next, outermost first; all zero: contiguous.
    int64_t stride[4];
} reflex_tensor;

/* ---------------------------------------------------------------------------------------------------------------------
 * 1.5 weight
 * Weights: the one type that every weight matrix of an op has.
 */

// A view of a weight matrix. The memory belongs to the caller; the library never owns it.
//
// Weights in F32, F16, BF16 and the block formats keep everything in `data`: their other tensors are absent
// (`data == NULL`), and their `group_size` is 0. The other fields are reserved for formats that store scales apart
// from the elements. This version knows no such format, and refuses a weight in which one of them is set with
// `REFLEX_INVALID_ARGUMENT`.
typedef struct reflex_weight {
    // The matrix, `[n, k]`: its elements, or its blocks.
    struct reflex_tensor data;
    // Reserved for the scales of groups of elements. It has to be absent.
    struct reflex_tensor scales;
    // Reserved for the zero points of groups of elements. It has to be absent.
    struct reflex_tensor zeros;
    // Reserved for a scale that all elements share. It has to be absent.
    struct reflex_tensor global_scale;
    // Reserved for the order of the columns in formats that sort them. It has to be absent.
    struct reflex_tensor order;
    // Reserved for the number of elements of a row that share a scale. It has to be 0.
    uint32_t group_size;
    uint32_t reserved;
} reflex_weight;

/* ---------------------------------------------------------------------------------------------------------------------
 * 1.6 kv cache
 * The KV cache: the one type that every op takes that reads or writes keys and values.
 */

// A view of the keys and values of a batch of sequences. The memory belongs to the caller; the library never owns it.
//
// An engine fills one for each layer and hands it to every op by pointer. It is host memory that a call reads before
// it returns; neither the library nor a captured graph keeps a pointer to it.
//
// A cache is contiguous, or it is paged, with a `block_table`. In a contiguous one, key `j` of sequence `b` is
// `k[b][j]`. In a paged one, `k` and `v` are pools of pages, and key `j` of sequence `b` is `k[page][j % page_size]`
// with `page = block_table[b][j / page_size]`. Sequences may share pages. Strides of the outer dimensions are free, so
// that heads may lie outside of the keys, as in `[batch, kv_heads, capacity, head_dim]`.
//
// What lies on the device is not trusted. A page outside of 0 <= page < pages is a page of no keys: the sequence keeps
// its length and the other keys their positions, but nothing is read of this page, its keys have no weight, and what
// would be appended to it is skipped. Entries of the block table behind a sequence's last page may be anything.
//
// Not every op has a kernel on CUDA for every cache: its `_supported` says whether it has, and `REFLEX_UNSUPPORTED`
// is the cue to use another layout. This version has kernels for contiguous caches whose k and v have one type;
// `reflex_rope` appends to paged pools, too. The CPU backend takes every cache.
typedef struct reflex_kv_cache {
    uint32_t struct_size;
    // 0.
    uint32_t flags;
    // `[batch, capacity, kv_heads, head_dim]`, F32, F16 or BF16; with a `block_table`
    // `[pages, page_size, kv_heads, head_dim]`, where page_size is a power of two from 8 to 256.
    struct reflex_tensor k;
    // As `k`, with v_head_dim in place of head_dim, and of any of these types.
    struct reflex_tensor v;
    // Reserved for the scales of a quantised k. It has to be absent: this version has no quantised caches, and refuses
    // one (`REFLEX_UNSUPPORTED`).
    struct reflex_tensor k_scale;
    // Reserved for the scales of a quantised v. It has to be absent, as `k_scale`.
    struct reflex_tensor v_scale;
    // Present where the cache is paged: `[batch, max_pages]`, I32, read on the device: the pages of each sequence. The
    // capacity of the cache is then max_pages * page_size.
    struct reflex_tensor block_table;
    // Optional, `[batch]`, I32, read on the device: the number of keys of each sequence, which counts those of the new
    // tokens. A value outside 0..=capacity is clamped. When absent, every sequence has capacity keys.
    struct reflex_tensor lengths;
} reflex_kv_cache;

#ifndef __cplusplus
#define REFLEX_KV_CACHE_INIT { .struct_size = sizeof(reflex_kv_cache) }
#endif

/* ---------------------------------------------------------------------------------------------------------------------
 * 1.7 size
 * Sizes of rows and tensors in bytes.
 */

// Bytes of one row of `elements` elements whose blocks follow one another: `elements / block_elements * block_bytes`.
//
// This is what contiguous strides are made of. A packed matrix of n rows has n times as many bytes, though its rows do
// not lie one after the other. Where several rows of `REFLEX_DTYPE_ACT_I8` follow one another, the stride between them
// is this rounded up to a multiple of 16.
//
// Statuses: `REFLEX_INVALID_ARGUMENT` for a NULL `bytes`, a number that is no type, an `elements` that is negative or
// no multiple of the type's block, and more bytes than an `int64_t` counts; `REFLEX_MISALIGNED`. `*bytes` is set only
// on success. Thread-safe. Since 0.1.
reflex_status reflex_dtype_row_bytes(reflex_dtype dtype, int64_t elements, uint64_t *bytes);

// Bytes from `tensor->data` to the end of the last byte that its shape and strides reach, with the gaps between rows.
// An allocation for the tensor has to be that large. 0 where a dimension is 0.
//
// `tensor->data` is not looked at and may be NULL, so that the size can be asked before there is memory. Type, rank,
// shape and strides are what an op expects: all-zero strides are contiguous, a packed type is a dense matrix.
//
// Statuses: `REFLEX_INVALID_ARGUMENT` for a NULL `tensor` or `bytes` and for a type, rank, shape or stride that every
// op refuses, `REFLEX_MISALIGNED` for a stride that is. `*bytes` is set only on success. Thread-safe. Since 0.1.
reflex_status reflex_tensor_bytes(const struct reflex_tensor *tensor, uint64_t *bytes);

/* ---------------------------------------------------------------------------------------------------------------------
 * 1.8 stream
 * Streams: their type is CUDA's.
 */

// A CUDA stream: `cudaStream_t` and `CUstream` convert without a cast. NULL is the device's default stream. Streams of
// foreign contexts (green contexts, MPS, torch) work; a stream of `reflex_stream_create` belongs to its context.
//
// On the CPU backend every call runs at once and the value only tells captures apart.
typedef struct CUstream_st *reflex_stream;

/* ---------------------------------------------------------------------------------------------------------------------
 * 1.9 build info
 * Versions, and what the library was built with.
 */

/* The version of this header; reflex_get_build_info tells the library's. */
#define REFLEX_VERSION_MAJOR 0
#define REFLEX_VERSION_MINOR 1
#define REFLEX_VERSION_PATCH 0

// How this library was built. The strings live as long as the program and are never null.
typedef struct reflex_build_info {
    // Version of the library, `"0.1.0"` for example.
    const char *version;
    // The kernel images inside, `"87;90a;80-virtual"` for example; empty when built without kernels.
    const char *cuda_archs;
    // Release of the compiler (NVRTC) that made the images, `"13.0"` for example; empty when built without kernels.
    const char *nvrtc_version;
    // Rust's target triple, `"aarch64-unknown-linux-gnu"` for example.
    const char *target;
    // Why there are no kernels inside: what the build found when it looked for NVRTC; empty when built with kernels.
    const char *no_kernels;
} reflex_build_info;

// Returns how this library was built. It never fails.
struct reflex_build_info reflex_get_build_info(void);

/* =====================================================================================================================
 * 2. Runtime
 *
 * Contexts, and what is made through them, on either backend: streams, memory, events and graphs.
 * `reflex_context_create` says what a child process may do with them after `fork`.
 */

/* ---------------------------------------------------------------------------------------------------------------------
 * 2.1 context
 * Contexts: a device, the backend that runs its calls, and what was made through it.
 */

// Where a context runs its calls.
typedef uint32_t reflex_backend;

// CUDA where a device and a matching kernel image exist, CPU otherwise.
#define REFLEX_BACKEND_AUTO 0

// An NVIDIA GPU. Where there is none, `reflex_context_create` fails.
#define REFLEX_BACKEND_CUDA 1

// The host's cores. Pointers are host pointers.
#define REFLEX_BACKEND_CPU 2

// How to make a context. A zeroed struct selects AUTO, device 0, all of its SMs and one CPU thread per core.
typedef struct reflex_context_params {
    uint32_t struct_size;
    // `REFLEX_BACKEND_*`.
    reflex_backend backend;
    // CUDA device ordinal.
    int32_t device;
    // Threads of the CPU backend, 0 for one per core, at most 1024.
    uint32_t cpu_threads;
    // Number of SMs that the caller's streams can use, where a green context or an MPS partition limits them: kernels
    // are planned for that many. 0 means all SMs of the device; more than these are refused. The number limits nothing
    // by itself, and `reflex_get_device_info` still tells the device's. The CPU backend does not look at it.
    uint32_t sm_count;
    uint32_t reserved;
} reflex_context_params;

#ifndef __cplusplus
#define REFLEX_CONTEXT_PARAMS_INIT { .struct_size = sizeof(reflex_context_params) }
#endif

// A device and what the library keeps for it. Opaque; immutable after creation; usable from many threads at once.
//
// What is made through a context (streams, events, graphs) is used with that context alone.
typedef struct reflex_context reflex_context;

// Creates a context for one device.
//
// `params` may be NULL for the defaults. `*out` is set only on success and belongs to the caller, who gives it to
// `reflex_context_destroy`. The caller's current CUDA context is not changed.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_ABI_MISMATCH`; with backend CUDA also `REFLEX_NO_DRIVER`,
// `REFLEX_NOT_BUILT`, `REFLEX_UNSUPPORTED_DEVICE`, `REFLEX_CUDA_ERROR`. Since 0.1.
//
// After `fork` the child may go on using a context of the CPU backend, which starts its threads anew there. With a
// context of the CUDA backend every call in the child but `reflex_context_destroy` returns `REFLEX_CUDA_ERROR`. A
// child whose parent has used CUDA cannot use it: backend CUDA gives `REFLEX_NO_DRIVER` there, and AUTO selects the
// CPU.
reflex_status reflex_context_create(const struct reflex_context_params *params, struct reflex_context **out);

// Destroys a context. NULL is ignored. Work on its streams must have finished, and the caller must have destroyed its
// graphs, streams and events and freed its memory before. A child process may destroy a context that it inherited.
void reflex_context_destroy(struct reflex_context *context);

// Loads every kernel image now instead of on first use (about 0.1 s each), before latencies matter. Launches inside a
// graph capture work without it. On the CPU backend it does nothing.
reflex_status reflex_context_preload(const struct reflex_context *context);

// Sets `*out` to the backend that runs the context's calls: `REFLEX_BACKEND_CUDA` or `REFLEX_BACKEND_CPU`, never AUTO.
reflex_status reflex_context_backend(const struct reflex_context *context, reflex_backend *out);

// Says why the context has the backend that it has: `"CUDA: "` and the device, or `"CPU: "` and what kept AUTO from
// CUDA, for example `"CPU: libcuda.so.1 could not be opened: no NVIDIA driver on this machine"`. Print it where an
// engine starts. `*out` points to one line of zero-terminated UTF-8. It is never null and lives as long as the
// context.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`. Since 0.1.
reflex_status reflex_context_backend_reason(const struct reflex_context *context, const char **out);

/* ---------------------------------------------------------------------------------------------------------------------
 * 2.2 stream
 * Streams of a context, and what may be done with a stream that a call is given.
 */

// Makes a stream that does not wait for the default stream. Destroy it with `reflex_stream_destroy`.
reflex_status reflex_stream_create(const struct reflex_context *context, reflex_stream *out);

// Destroys a stream of `reflex_stream_create` once its work is done. NULL is ignored. A capture on it ends and is
// lost.
//
// Any other stream gives `REFLEX_INVALID_ARGUMENT`: one that was destroyed before, that belongs to another context, or
// that CUDA itself made.
reflex_status reflex_stream_destroy(const struct reflex_context *context, reflex_stream stream);

// Waits until everything that was put on the stream has finished. Errors of earlier work appear here.
// While the stream is being captured the call returns `REFLEX_INVALID_ARGUMENT`, and the capture goes on.
reflex_status reflex_stream_synchronize(const struct reflex_context *context, reflex_stream stream);

/* ---------------------------------------------------------------------------------------------------------------------
 * 2.3 memory
 * Memory functions, so that an engine needs no CUDA toolkit. On the CPU backend they work on host memory.
 */

// Allocates device memory, which is aligned to 256 bytes and not initialised. Free it with `reflex_device_free`.
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_OUT_OF_MEMORY`, `REFLEX_CUDA_ERROR`.
reflex_status reflex_device_malloc(const struct reflex_context *context, size_t bytes, void **out);

// Frees memory of `reflex_device_malloc`. NULL is allowed. The call waits for the device as cudaFree does.
// Any other pointer, also one that was freed before, gives `REFLEX_INVALID_ARGUMENT`.
reflex_status reflex_device_free(const struct reflex_context *context, void *pointer);

// Allocates page-locked host memory that the device can read and write at the same address.
// Free it with `reflex_host_free`.
reflex_status reflex_host_malloc(const struct reflex_context *context, size_t bytes, void **out);

// Frees memory of `reflex_host_malloc`. NULL is allowed.
// Any other pointer, also one that was freed before, gives `REFLEX_INVALID_ARGUMENT`.
reflex_status reflex_host_free(const struct reflex_context *context, void *pointer);

// Page-locks host memory that the caller owns (a file mapped with mmap, for example) and gives the address under which
// kernels read it. That is the way to read it on integrated GPUs, where host and device share the memory; on a
// discrete GPU every read crosses the bus.
//
// The driver rounds the range out to pages. On some systems it refuses read-only mappings (`REFLEX_CUDA_ERROR`): copy
// the data instead. `*device_pointer` is valid until `reflex_host_unregister`, which must be called before the memory
// is freed.
//
// A range gives `REFLEX_INVALID_ARGUMENT` when it has unmapped pages, and when it shares a byte with a registered
// range or with memory that this library allocated. Ranges may share a page.
reflex_status reflex_host_register(const struct reflex_context *context,
                                   void *host,
                                   size_t bytes,
                                   void **device_pointer);

// Undoes `reflex_host_register`; `host` is the address that was given there.
// Any other address, also one that was unregistered before, gives `REFLEX_INVALID_ARGUMENT`.
reflex_status reflex_host_unregister(const struct reflex_context *context, void *host);

// Copies `bytes` between host and device in any direction, in the order of `stream`. Pageable host memory may make the
// call wait; memory of `reflex_host_malloc` does not. Ranges that overlap give `REFLEX_INVALID_ARGUMENT`. The copy can
// be captured.
reflex_status reflex_memcpy(const struct reflex_context *context,
                            void *destination,
                            const void *source,
                            size_t bytes,
                            reflex_stream stream);

// Sets `bytes` bytes to `value` in the order of `stream`. The call can be captured.
reflex_status reflex_memset(const struct reflex_context *context,
                            void *destination,
                            uint8_t value,
                            size_t bytes,
                            reflex_stream stream);

// Tells the free and the total memory of the device in bytes: that of the GPU, or that of the system on the CPU
// backend and on integrated GPUs, where host and device share it. Either pointer may be NULL.
reflex_status reflex_memory_info(const struct reflex_context *context, uint64_t *free_bytes, uint64_t *total_bytes);

/* ---------------------------------------------------------------------------------------------------------------------
 * 2.4 event
 * Events: points of a stream, and the time between them.
 */

// A point in a stream, with its time. The type is opaque.
typedef struct reflex_event reflex_event;

// Makes an event. Destroy it with `reflex_event_destroy`, before its context.
reflex_status reflex_event_create(const struct reflex_context *context, struct reflex_event **out);

// Destroys an event. NULL is ignored.
void reflex_event_destroy(struct reflex_event *event);

// Records the event after what is on the stream so far.
//
// On a stream that is being captured the event does not become a part of the graph and gets no time:
// `reflex_event_synchronize` and `reflex_event_elapsed` refuse it until it is recorded outside of a capture.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, also for an event of another context; `REFLEX_CUDA_ERROR`.
reflex_status reflex_event_record(const struct reflex_context *context,
                                  struct reflex_event *event,
                                  reflex_stream stream);

// Waits until the stream has reached the event's point. For an event that was never recorded it does not wait.
// An event that was last recorded in a capture gives `REFLEX_INVALID_ARGUMENT`.
reflex_status reflex_event_synchronize(struct reflex_event *event);

// Sets `*milliseconds` to the time from `start` to `end`, which is negative where `end` came before `start`. Both must
// have been recorded, and the stream must have reached both.
//
// The call returns `REFLEX_INVALID_ARGUMENT` when one of them was never recorded or was last recorded in a capture,
// and when they belong to two contexts. It returns `REFLEX_CUDA_ERROR` (CUDA_ERROR_NOT_READY) when one is not reached
// yet.
reflex_status reflex_event_elapsed(struct reflex_event *start, struct reflex_event *end, float *milliseconds);

/* ---------------------------------------------------------------------------------------------------------------------
 * 2.5 graph
 * Graphs: calls that were captured from a stream, to be launched again.
 */

// A captured sequence of launches that can be replayed. The type is opaque.
typedef struct reflex_graph reflex_graph;

// Starts recording what is launched on `stream` instead of running it, until `reflex_graph_capture_end`.
//
// It works on any stream but NULL; captures begun with `cudaStreamBeginCapture` work as well. On the CPU backend calls
// on this stream are recorded in the same way. A replay uses the pointers that were recorded.
//
// While the capture goes on, calls on other streams and the memory functions work as usual. Calls that wait for this
// stream, a second capture of it and the launch of a graph on it return `REFLEX_INVALID_ARGUMENT`; they do not harm
// the capture.
reflex_status reflex_graph_capture_begin(const struct reflex_context *context, reflex_stream stream);

// Ends the capture and makes a graph of it, ready to launch. Destroy it with `reflex_graph_destroy`, before its
// context.
//
// The call returns `REFLEX_INVALID_ARGUMENT` when the stream is not being captured, and when another thread began the
// capture, because only that thread can end it. Such a capture goes on, unless it was begun with
// `cudaStreamBeginCapture`: then the driver ends it. After any other error the capture is over. `*out` is set only on
// success.
reflex_status reflex_graph_capture_end(const struct reflex_context *context,
                                       reflex_stream stream,
                                       struct reflex_graph **out);

// Puts a replay of the graph on the stream. A graph may be launched again before an earlier launch has finished;
// launches of one graph run one after another.
//
// A graph of another context gives `REFLEX_INVALID_ARGUMENT`, and so does a stream that is being captured, because
// graphs do not nest.
reflex_status reflex_graph_launch(const struct reflex_context *context,
                                  struct reflex_graph *graph,
                                  reflex_stream stream);

// Sets `*out` to the number of nodes (launches, copies) in the graph.
reflex_status reflex_graph_node_count(const struct reflex_graph *graph, size_t *out);

// Destroys a graph. NULL is ignored. A launch that is under way runs to its end.
void reflex_graph_destroy(struct reflex_graph *graph);

/* =====================================================================================================================
 * 3. Device and telemetry
 *
 * What the device is, and how it is doing: profiles and budgets for planning, telemetry, energy.
 */

/* ---------------------------------------------------------------------------------------------------------------------
 * 3.1 device info
 * What the device of a context is.
 */

// The device of a context. Set `struct_size` to `sizeof(reflex_device_info)` before the call. Fields that do not apply
// to the device, such as the compute capability of a CPU, are 0.
typedef struct reflex_device_info {
    uint32_t struct_size;
    // `REFLEX_BACKEND_CUDA` or `REFLEX_BACKEND_CPU`.
    reflex_backend backend;
    // Name of the device as the driver or the system tells it, zero-terminated UTF-8.
    char name[128];
    // Compute capability as major * 10 + minor: 87 on Orin.
    uint32_t sm;
    // Number of streaming multiprocessors; on the CPU backend, of threads.
    uint32_t sm_count;
    // 1 when the GPU shares the host's memory, as on Jetson.
    uint32_t integrated;
    // The most shared memory that a block can have, in bytes.
    uint32_t shared_memory_per_block;
    // Size of the L2 cache in bytes.
    uint64_t l2_bytes;
    // Memory of the device in bytes.
    uint64_t total_memory;
    // Top clock of the SMs in kHz, as the driver reports it; 0 when unknown.
    uint32_t core_clock_khz;
    // Top clock of the memory in kHz, as the driver reports it; 0 when unknown.
    uint32_t memory_clock_khz;
    // Width of the memory bus in bits; 0 when unknown.
    uint32_t memory_bus_bits;
    uint32_t reserved;
} reflex_device_info;

#ifndef __cplusplus
#define REFLEX_DEVICE_INFO_INIT { .struct_size = sizeof(reflex_device_info) }
#endif

// Fills `*out` with what the context's device is. The caller sets `out->struct_size`; no more than that is written.
reflex_status reflex_get_device_info(const struct reflex_context *context, struct reflex_device_info *out);

// Returns the number of CUDA devices that this process can see, 0 without a driver. It never fails.
int32_t reflex_device_count(void);

/* ---------------------------------------------------------------------------------------------------------------------
 * 3.2 profile
 * Hardware profiles: what is known of a class of devices, and which class a device is of.
 */

// The kind of a device: its board where boards differ only by their memory and clocks, its family otherwise.
typedef uint32_t reflex_device_class;

// This library does not know the kind of the device.
#define REFLEX_DEVICE_CLASS_UNKNOWN 0

// The CPU backend.
#define REFLEX_DEVICE_CLASS_CPU 1

// A family: GeForce, RTX and Quadro boards.
#define REFLEX_DEVICE_CLASS_RTX 2

// A family: A100, H100, H200, B200, L4, L40S, T4 and the like.
#define REFLEX_DEVICE_CLASS_DATA_CENTER 3

// Jetson Orin Nano 4 GB.
#define REFLEX_DEVICE_CLASS_ORIN_NANO_4GB 16

// Jetson Orin Nano 8 GB, also the developer kit.
#define REFLEX_DEVICE_CLASS_ORIN_NANO_8GB 17

// Jetson Orin NX 8 GB.
#define REFLEX_DEVICE_CLASS_ORIN_NX_8GB 18

// Jetson Orin NX 16 GB.
#define REFLEX_DEVICE_CLASS_ORIN_NX_16GB 19

// Jetson AGX Orin 32 GB.
#define REFLEX_DEVICE_CLASS_AGX_ORIN_32GB 20

// Jetson AGX Orin 64 GB, also the developer kit and the industrial module.
#define REFLEX_DEVICE_CLASS_AGX_ORIN_64GB 21

// Jetson T4000.
#define REFLEX_DEVICE_CLASS_THOR_T4000 32

// Jetson T5000, also the AGX Thor developer kit.
#define REFLEX_DEVICE_CLASS_THOR_T5000 33

// DGX Spark and other GB10 machines.
#define REFLEX_DEVICE_CLASS_SPARK 48

// What an engine plans with: the device, and the nominal bandwidth of its memory. Unknown numbers are 0, unknown names
// "".
typedef struct reflex_hardware_profile {
    uint32_t struct_size;
    // `REFLEX_DEVICE_CLASS_*`.
    reflex_device_class device_class;
    // Name of the board, GPU or processor, zero-terminated UTF-8.
    char name[128];
    // Compute capability as major * 10 + minor: 87 on Orin.
    uint32_t sm;
    // Number of streaming multiprocessors. A Jetson's power mode can switch some off; the profile of a class counts
    // them all.
    uint32_t sm_count;
    // 1 when the GPU shares the host's memory.
    uint32_t integrated;
    // Width of the memory bus in bits.
    uint32_t memory_bus_bits;
    // Size of the memory in bytes: the data sheet's for a class, what the driver sees for a device.
    uint64_t memory_bytes;
    // Nominal bandwidth of the memory in bytes per second, for both directions together. Measured reads stay below it.
    double memory_bandwidth;
    // The bandwidth in Super mode (JetPack 6.2 and later with Super firmware), on boards where it differs; 0 on
    // others.
    double memory_bandwidth_super;
} reflex_hardware_profile;

#ifndef __cplusplus
#define REFLEX_HARDWARE_PROFILE_INIT { .struct_size = sizeof(reflex_hardware_profile) }
#endif

// Fills `*out` with the profile of the context's device: class, SMs, memory and nominal bandwidth.
//
// The bandwidth of a known board (Jetson, Spark) is its data sheet's; an Orin Nano with Super firmware has that of the
// power mode in force. For other GPUs it is 2 * memory clock * bus width / 8, as the driver reports these, and for a
// Thor module that this library does not know it is 2 * 4266 MHz * bus width / 8. On the CPU backend it is unknown
// (0).
//
// The caller sets `out->struct_size`; no more than that is written. Thread-safe.
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`. Since 0.1.
reflex_status reflex_get_hardware_profile(const struct reflex_context *context, struct reflex_hardware_profile *out);

// Fills `*out` with what the data sheet of a board says, so that an engine can plan for one that is not here.
//
// `REFLEX_DEVICE_CLASS_CPU`, `_RTX`, `_DATA_CENTER` and `_UNKNOWN` are no boards and give `REFLEX_UNSUPPORTED`.
// The caller sets `out->struct_size`; no more than that is written. Thread-safe.
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED`. Since 0.1.
// Source: NVIDIA's module data sheets.
reflex_status reflex_get_hardware_profile_of_class(reflex_device_class device_class,
                                                   struct reflex_hardware_profile *out);

/* ---------------------------------------------------------------------------------------------------------------------
 * 3.3 reading
 * What telemetry tells: the struct of a reading, and what its fields mean.
 */

// Nothing runs on the GPU, so its clocks are low.
#define REFLEX_THROTTLE_IDLE 1

// The clocks are held by a setting.
#define REFLEX_THROTTLE_CLOCK_SETTING 2

// Software holds the power limit.
#define REFLEX_THROTTLE_POWER_CAP 4

// Hardware slowed the clocks down, for a temperature, a power brake or a fast power trigger. On Jetson it means that
// there was an over-current event and that the measured clock of the CPU, which root can read, is far below the
// requested one.
#define REFLEX_THROTTLE_HARDWARE 8

// Another GPU of the same boost group is slow.
#define REFLEX_THROTTLE_SYNC_BOOST 16

// Software slows down for a temperature; on Jetson one of the `*-throttle-alert` cooling devices is active.
#define REFLEX_THROTTLE_THERMAL 32

// Hardware slows down for a temperature.
#define REFLEX_THROTTLE_HARDWARE_THERMAL 64

// The power supply asks for less.
#define REFLEX_THROTTLE_POWER_BRAKE 128

// Jetson's over-current or under-voltage events grew while a sampler ran. `reflex_telemetry_read` never sets this bit:
// it tells the number of events in `over_current_events`.
#define REFLEX_THROTTLE_OVER_CURRENT 256

// The reasons are not known. No other bit is set beside this one.
#define REFLEX_THROTTLE_UNKNOWN 2147483648

// One reading of `reflex_telemetry_read`. An unknown value is NaN in a float, -1 in a signed integer, "" in a text and
// `REFLEX_THROTTLE_UNKNOWN` in `throttle`. Texts are zero-terminated UTF-8.
typedef struct reflex_telemetry {
    uint32_t struct_size;
    // `REFLEX_THROTTLE_*` bits, 0 for none. On Jetson 0 means that no thermal alert is active and that no over-current
    // event was counted since boot. After an event the hardware may hold the clocks down, and no file says whether it
    // does: `REFLEX_THROTTLE_HARDWARE` where the CPU's measured clock shows it, else `REFLEX_THROTTLE_UNKNOWN`.
    uint32_t throttle;
    // Power mode of a Jetson: the one that nvpmodel set last. Where its service failed, or a reboot is due, the clocks
    // differ from that mode's; the `*_clock_limit_mhz` of GPU and CPU tell what holds.
    int32_t power_mode;
    // CUDA version of the driver as 1000 * major + 10 * minor; -1 on the CPU backend.
    int32_t cuda_driver;
    // Power in watts: that of the module on Jetson Orin, of the whole board on Jetson Thor and discrete GPUs, of the
    // GPU alone on DGX Spark. `power_rail` says which.
    float power_w;
    // Power in watts of the narrowest measured rail that feeds the GPU. `gpu_rail` says what else that rail feeds.
    float gpu_power_w;
    // Power limit in force in watts; unknown on Jetson.
    float power_limit_w;
    // Clock of the SMs in MHz; 0 when gated.
    float gpu_clock_mhz;
    // Highest clock in MHz that the present mode allows the SMs.
    float gpu_clock_limit_mhz;
    // Clock of the fastest CPU core in MHz. It is the measured one where the driver measures it and root asks, else
    // the requested one, and the hardware may run far below that.
    float cpu_clock_mhz;
    // Highest clock in MHz that the present mode allows the CPU.
    float cpu_clock_limit_mhz;
    // Clock of the memory in MHz, with two transfers per clock. On Orin only root can read it.
    float memory_clock_mhz;
    // Highest clock of the memory in MHz. On Orin without root it is nvpmodel's cap: the power mode asks for it, but
    // the firmware may give less.
    float memory_clock_limit_mhz;
    // Temperature of the GPU in degrees Celsius.
    float gpu_temperature_c;
    // Temperature of the CPU in degrees Celsius.
    float cpu_temperature_c;
    // Temperature of the memory in degrees Celsius.
    float memory_temperature_c;
    // Temperature of the hottest sensor of the machine or of the GPU, in degrees Celsius.
    float hottest_c;
    // Percentage of the time in which the GPU was busy.
    float gpu_utilization;
    // Percentage of the time in which the GPU's memory was busy; unknown on integrated GPUs.
    float memory_utilization;
    uint32_t reserved;
    // Memory in bytes: that of the whole system on integrated GPUs and on the CPU backend, that of the GPU otherwise.
    int64_t memory_total;
    // Bytes of `memory_total` that are in use.
    int64_t memory_used;
    // Bytes that a program could still get.
    int64_t memory_free;
    // Number of Jetson's over-current and under-voltage events since boot.
    int64_t over_current_events;
    // Energy in joules since the driver was loaded, where the GPU counts it.
    double energy_counter_j;
    // What `power_w` measures: `"VDD_IN"`, `"VIN"` (with all that the carrier board feeds from it), `"NVML"` or the
    // rails that it sums, with `+` between them.
    char power_rail[64];
    // What `gpu_power_w` measures: `"VDD_GPU"`, `"VDD_GPU_SOC"` (GPU and SoC), `"VDD_CPU_GPU_CV"` (CPU, GPU and
    // vision).
    char gpu_rail[32];
    // Name of `power_mode`, `"MAXN"` for example.
    char power_mode_name[64];
    // Jetson Linux release, `"36.4.3"` for example.
    char l4t_version[32];
    // JetPack release, `"6.2"` for example; unknown for an L4T release newer than this library.
    char jetpack_version[32];
    // GPU driver, `"580.95.05"` for example.
    char driver_version[64];
} reflex_telemetry;

#ifndef __cplusplus
#define REFLEX_TELEMETRY_INIT { .struct_size = sizeof(reflex_telemetry) }
#endif

/* ---------------------------------------------------------------------------------------------------------------------
 * 3.4 telemetry
 * Reads the sensors of a device, wherever this machine has them.
 */

// Reads power, clocks, temperatures, throttling, memory, utilisation and versions of the context's device now.
//
// The caller sets `out->struct_size`; no more than that is written. A field that this machine does not tell, or tells
// only to root, is unknown: see `reflex_telemetry`. That is no error, even where every field is unknown.
// Jetson is read from sysfs and procfs, other GPUs through NVML, which is opened on first use; on the CPU backend NVML
// is not asked. NVML's power is an average over up to a second on most GPUs.
//
// The call takes from some 100 microseconds to some milliseconds, and tens of milliseconds on first use: it is not for
// the inner loop of an engine. It starts no CUDA work and waits for none. Any thread may call it at any time.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`. Since 0.1.
// Source: Jetson Linux Developer Guide, Platform Power and Performance; NVML API Reference.
reflex_status reflex_telemetry_read(const struct reflex_context *context, struct reflex_telemetry *out);

/* ---------------------------------------------------------------------------------------------------------------------
 * 3.5 budget
 * Memory before there is any: the bytes of a cache of keys and values, and whether model, scratch and cache fit.
 */

// V is a part of K, as in latent attention, and takes no memory of its own.
#define REFLEX_KV_BUDGET_V_IN_K 1

// The shape of a cache of keys and values.
typedef struct reflex_kv_budget_params {
    uint32_t struct_size;
    // `REFLEX_KV_BUDGET_*` bits.
    uint32_t flags;
    // The number of layers that keep keys and values of this shape, 1 or more.
    uint32_t layers;
    // KV heads of a layer, 1 or more.
    uint32_t kv_heads;
    // Elements of a head of K, 1 or more.
    uint32_t k_head_dim;
    // Elements of a head of V; 0 selects `k_head_dim`. It is 0 with `REFLEX_KV_BUDGET_V_IN_K`.
    uint32_t v_head_dim;
    // F32, F16, BF16 or a block format that is not packed; 0 selects F16.
    reflex_dtype k_dtype;
    // The type of V; 0 selects `k_dtype`.
    reflex_dtype v_dtype;
    // Bytes that are kept beside a head of K for each token, such as 4 for a scale in F32.
    uint32_t k_scale_bytes;
    // The same for V.
    uint32_t v_scale_bytes;
    // Tokens of a page; 0 for a contiguous cache.
    uint32_t page_size;
    uint32_t reserved;
    // Sequences that each have room for as many tokens; 0 selects 1.
    uint64_t sequences;
    // Tokens of each sequence that the cache is for. With pages they are rounded up to whole ones.
    uint64_t tokens;
    // Memory for the cache, of which `reflex_kv_sizes.fit_tokens` is made.
    uint64_t bytes;
} reflex_kv_budget_params;

#ifndef __cplusplus
#define REFLEX_KV_BUDGET_PARAMS_INIT { .struct_size = sizeof(reflex_kv_budget_params) }
#endif

// What a cache of keys and values takes, in bytes where nothing else is said.
typedef struct reflex_kv_sizes {
    uint32_t struct_size;
    uint32_t reserved;
    // One token of one sequence in all layers, K, V and their scales.
    uint64_t token_bytes;
    // One page in all layers; 0 for a contiguous cache.
    uint64_t page_bytes;
    // Tokens of each sequence that the cache has room for: those of the params, up to whole pages.
    uint64_t tokens;
    // Pages of all sequences; 0 for a contiguous cache.
    uint64_t pages;
    // K of one layer with its scales, of all sequences.
    uint64_t k_layer_bytes;
    // V of one layer with its scales, of all sequences.
    uint64_t v_layer_bytes;
    // The whole cache.
    uint64_t bytes;
    // The most tokens of each sequence whose cache is at most `bytes` of the params, in whole pages.
    uint64_t fit_tokens;
} reflex_kv_sizes;

#ifndef __cplusplus
#define REFLEX_KV_SIZES_INIT { .struct_size = sizeof(reflex_kv_sizes) }
#endif

// What is to fit into the memory of a device.
typedef struct reflex_memory_budget_params {
    uint32_t struct_size;
    uint32_t reserved;
    // Memory that is free, as `reflex_memory_info` tells it before anything is allocated.
    uint64_t free_bytes;
    // What is to stay free for others.
    uint64_t reserve_bytes;
    // Weights, and what is needed to load them.
    uint64_t model_bytes;
    // Workspaces, activations, logits.
    uint64_t scratch_bytes;
    // Optional: the cache and the tokens that it is to have room for. Its `bytes` are not looked at. It is host memory
    // that the call reads before it returns.
    const struct reflex_kv_budget_params *cache;
} reflex_memory_budget_params;

#ifndef __cplusplus
#define REFLEX_MEMORY_BUDGET_PARAMS_INIT { .struct_size = sizeof(reflex_memory_budget_params) }
#endif

// What fits into the memory of a device, in bytes where nothing else is said.
typedef struct reflex_memory_fit {
    uint32_t struct_size;
    uint32_t reserved;
    // Reserve, model, scratch and cache.
    uint64_t needed_bytes;
    // How much of that is missing; 0 where all fits.
    uint64_t shortage_bytes;
    // What is free beside that; 0 where it does not fit.
    uint64_t left_bytes;
    // The cache, with the tokens of its params.
    uint64_t cache_bytes;
    // What is free for a cache beside reserve, model and scratch; 0 where these do not fit.
    uint64_t cache_room_bytes;
    // The most tokens of each sequence that fit there, in whole pages; 0 without a cache.
    uint64_t fit_tokens;
} reflex_memory_fit;

#ifndef __cplusplus
#define REFLEX_MEMORY_FIT_INIT { .struct_size = sizeof(reflex_memory_fit) }
#endif

// Computes what a cache of keys and values takes, and how many tokens fit into `params->bytes`. A pure function of
// sizes: it needs no context and no GPU.
//
// A head of K takes the bytes of `reflex_dtype_row_bytes` and `k_scale_bytes` for each token, and a head of V the same
// of its own. Rows follow one another without gaps; what an allocator rounds up is not counted.
//
// Set `out->struct_size` before the call; no more than that is written, and only on success. Thread-safe.
//
// Statuses: `REFLEX_INVALID_ARGUMENT` for a number that is no such type or count, a head that is no multiple of its
// type's block, and sizes of more than 64 bits; `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`. Since 0.1.
reflex_status reflex_kv_budget(const struct reflex_kv_budget_params *params, struct reflex_kv_sizes *out);

// Computes whether model, scratch and a cache of keys and values fit into the memory that is free, and how many tokens
// of cache do. A pure function of sizes: it needs no context and no GPU.
//
// Set `out->struct_size` before the call; no more than that is written. It is written on success, and where something
// does not fit. Thread-safe.
//
// Statuses: `REFLEX_OUT_OF_MEMORY` where something does not fit: the message names the bytes that are missing, and
// the tokens for which there is room. `REFLEX_INVALID_ARGUMENT` for a cache that `reflex_kv_budget` refuses and for
// sums of more than 64 bits; `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`. Since 0.1.
reflex_status reflex_memory_budget(const struct reflex_memory_budget_params *params, struct reflex_memory_fit *out);

/* ---------------------------------------------------------------------------------------------------------------------
 * 3.6 sampler
 * A thread that reads telemetry each period, and what it makes of the readings: energy, means and extremes.
 */

// Where the joules of a `reflex_energy` come from.
typedef uint32_t reflex_energy_source;

// Nothing here measures power.
#define REFLEX_ENERGY_SOURCE_NONE 0

// The joules are the integral of power samples (trapezoid rule).
#define REFLEX_ENERGY_SOURCE_SAMPLES 1

// The joules are the difference of the GPU's own energy counter (NVML), which is updated some ten times a second.
#define REFLEX_ENERGY_SOURCE_COUNTER 2

// What a sampler saw between start and stop. An unknown number is NaN, unknown reasons are `REFLEX_THROTTLE_UNKNOWN`.
typedef struct reflex_energy {
    uint32_t struct_size;
    // Where `joules` comes from: `REFLEX_ENERGY_SOURCE_*`.
    reflex_energy_source source;
    // Energy in joules of what `power_w` of `reflex_telemetry` measures.
    double joules;
    // Energy in joules of the rail that `gpu_power_w` measures, from power samples.
    double gpu_joules;
    // Seconds from the first reading to the last.
    double seconds;
    // Mean power in watts: joules / seconds.
    double mean_power_w;
    // Highest power sample in watts.
    double max_power_w;
    // Number of readings with a known power.
    uint64_t samples;
    // `REFLEX_THROTTLE_*` bits of all readings together.
    uint32_t throttle;
    // Highest temperature of all readings in degrees Celsius.
    float hottest_c;
} reflex_energy;

#ifndef __cplusplus
#define REFLEX_ENERGY_INIT { .struct_size = sizeof(reflex_energy) }
#endif

// Measures energy between two moments with a thread of its own. The type is opaque.
typedef struct reflex_telemetry_sampler reflex_telemetry_sampler;

// Makes a sampler for the context's device, with a thread that sleeps until `reflex_telemetry_sampler_start`.
//
// `period_ms`, 1 to 60000, is the time between two readings; 20 to 100 suits: a reading of a Jetson's rails takes some
// milliseconds, and NVML renews its power some ten times a second. `*out` is set only on success; end the sampler with
// `reflex_telemetry_sampler_destroy`. It keeps no reference to the context.
//
// After `fork` a sampler of the CPU backend works in the child too: no interval is under way there, and `start` makes
// a new thread. A sampler of the CUDA backend gives `REFLEX_CUDA_ERROR` there. The child may destroy either.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_INTERNAL`. Since 0.1.
reflex_status reflex_telemetry_sampler_create(const struct reflex_context *context,
                                              uint32_t period_ms,
                                              struct reflex_telemetry_sampler **out);

// Begins an interval: the sampler reads once now, then every period. Finish the work that is not to count before, with
// `reflex_stream_synchronize` for example. Thread-safe; a sampler has one interval at a time.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, also when the sampler runs already. Since 0.1.
reflex_status reflex_telemetry_sampler_start(struct reflex_telemetry_sampler *sampler);

// Ends the interval with a last reading and fills `*out`. Wait for the work that is to count before.
//
// `joules` is the difference of the GPU's energy counter where it has one, else the sum of (p[i] + p[i+1]) / 2 *
// (t[i+1] - t[i]) over the power samples; `source` says which. The counter is renewed some ten times a second: measure
// for a second or more. Where nothing measures power, `joules` is NaN, and that is no error. The sampler may be
// started again. Thread-safe.
//
// The caller sets `out->struct_size`; no more than that is written.
// Statuses: `REFLEX_INVALID_ARGUMENT`, also when the sampler does not run; `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`.
// Since 0.1.
reflex_status reflex_telemetry_sampler_stop(struct reflex_telemetry_sampler *sampler, struct reflex_energy *out);

// Destroys a sampler, also one that runs, and ends its thread after a reading that is under way. NULL is ignored.
void reflex_telemetry_sampler_destroy(struct reflex_telemetry_sampler *sampler);

/* =====================================================================================================================
 * 4. activation
 *
 * The op `activation`: an activation function of one tensor, times another where there is one.
 */

// The function that `reflex_activation` applies.
typedef uint32_t reflex_activation_kind;

// x * sigmoid(x); with `up` this is SwiGLU.
#define REFLEX_ACTIVATION_SILU 0

// GELU in its tanh form; with `up` this is GeGLU as Gemma uses it.
#define REFLEX_ACTIVATION_GELU_TANH 1

// GELU by the error function.
#define REFLEX_ACTIVATION_GELU_ERF 2

// Operands of `reflex_activation`.
typedef struct reflex_activation_params {
    uint32_t struct_size;
    // `REFLEX_ACTIVATION_*`.
    reflex_activation_kind kind;
    // `[.., n]`, rank 1 to 4, F32, F16 or BF16; rows are dense, outer strides are free, so that `gate` and `up` may be
    // halves of a merged buffer.
    struct reflex_tensor gate;
    // Optional, the shape of `gate`: multiplies the activated gate.
    struct reflex_tensor up;
    // The shape of `gate`, F32, F16, BF16 or ACT_I8. It may be `gate` or `up` itself.
    struct reflex_tensor y;
} reflex_activation_params;

#ifndef __cplusplus
#define REFLEX_ACTIVATION_PARAMS_INIT { .struct_size = sizeof(reflex_activation_params) }
#endif

// Applies an activation function to a gate, and multiplies the result with an optional second operand.
//
// `y = f(gate) * up`, or `f(gate)` without `up`. SiLU: `f(x) = x / (1 + e^-x)`. GELU tanh:
// `f(x) = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`. GELU erf: `f(x) = x (1 + erf(x / sqrt 2)) / 2`.
//
// Shapes and types: see `reflex_activation_params`; every operand may have its own float type. The function is
// computed in f32, in forms without cancellation for negative x. A `y` in ACT_I8 is quantised from f32 as
// `reflex_quantize` does it, but without a launch and a pass over memory of its own.
//
// Aliasing: `y` may be exactly `gate` or `up` (in place). It shares no other byte with either, nor with itself. The op
// needs no workspace. The call is asynchronous on `stream`, capturable and thread-safe.
//
// Limits: a row has at most 2^30 - 1 elements, and there are at most 2^31 - 1 rows.
//
// Infinities and NaN: f(gate) is 0 where the gate is minus infinity, infinity where it is infinity, and NaN where it
// is NaN. The product with `up` follows IEEE 754.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED`,
// `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Shazeer, "GLU Variants Improve Transformer", 2020; Hendrycks and
// Gimpel, "Gaussian Error Linear Units", 2016.
reflex_status reflex_activation(const struct reflex_context *context,
                                const struct reflex_activation_params *params,
                                reflex_stream stream);

// Says by its status whether `reflex_activation` would take these params on this context. It does the validation and
// the selection of `reflex_activation`, without a launch.
reflex_status reflex_activation_supported(const struct reflex_context *context,
                                          const struct reflex_activation_params *params);

// Sets `*name` to the kernel that `reflex_activation` would launch. The name is a static string: `"cpu"` on the CPU
// backend, `"none"` when there is nothing to do.
reflex_status reflex_activation_selected_kernel(const struct reflex_context *context,
                                                const struct reflex_activation_params *params,
                                                const char **name);

/* =====================================================================================================================
 * 5. add
 *
 * The op `add`: the sum of two tensors.
 */

// Operands of `reflex_add`.
typedef struct reflex_add_params {
    uint32_t struct_size;
    // The factor of `b`. It is finite and may be negative; 0 selects 1.
    float scale;
    // `[.., n]`, rank 1 to 4, F32, F16 or BF16; rows are dense, outer strides are free.
    struct reflex_tensor a;
    // The shape of `a`, or `[n]`, which is added to every row.
    struct reflex_tensor b;
    // The shape of `a`. It may be `a` itself, or `b` itself when `b` has the shape of `a`.
    struct reflex_tensor y;
} reflex_add_params;

#ifndef __cplusplus
#define REFLEX_ADD_PARAMS_INIT { .struct_size = sizeof(reflex_add_params) }
#endif

// Adds a scaled tensor to another: a residual, or a bias on every row.
//
// `y = a + scale * b`. The sum is rounded once in f32 (fused multiply-add), and then to the type of `y`.
//
// Shapes and types: see `reflex_add_params`; every operand may have its own float type.
//
// Aliasing: `y` may be exactly `a`, or exactly `b` when that has the shape of `a` (in place). It shares no other byte
// with either, nor with itself. The op needs no workspace. The call is asynchronous on `stream`, capturable and
// thread-safe.
//
// Limits: a row has at most 2^30 - 1 elements, and there are at most 2^31 - 1 rows. Infinities and NaN follow IEEE
// 754.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED`,
// `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1.
reflex_status reflex_add(const struct reflex_context *context,
                         const struct reflex_add_params *params,
                         reflex_stream stream);

// Says by its status whether `reflex_add` would take these params on this context. It does the validation and the
// selection of `reflex_add`, without a launch.
reflex_status reflex_add_supported(const struct reflex_context *context, const struct reflex_add_params *params);

// Sets `*name` to the kernel that `reflex_add` would launch. The name is a static string: `"cpu"` on the CPU backend,
// `"none"` when there is nothing to do.
reflex_status reflex_add_selected_kernel(const struct reflex_context *context,
                                         const struct reflex_add_params *params,
                                         const char **name);

/* =====================================================================================================================
 * 6. argmax
 *
 * The op `argmax`: the index of the largest element of each row.
 */

// Operands of `reflex_argmax`.
typedef struct reflex_argmax_params {
    uint32_t struct_size;
    uint32_t reserved;
    // `[rows, n]`, F32, F16 or BF16, n at least 1.
    struct reflex_tensor x;
    // `[rows]`, I32: receives the index of the greatest element of each row. On a tie that is the lowest index. NaN
    // counts as less than everything, and a row that is NaN throughout gives 0.
    struct reflex_tensor ids;
    // Optional, `[m]`, I32: every element is increased by one (2^31 - 1 becomes -2^31) once nothing else of this
    // launch reads it. A captured decode step advances its own positions and lengths by this.
    struct reflex_tensor counters;
    // Optional scratch of `reflex_argmax_workspace_size` bytes, 256-byte aligned. With it several blocks share a long
    // row where there are few rows. The library keeps nothing in it from one call to the next: one workspace with the
    // largest size that any call asks for serves all calls of a stream, of every op. Calls that may run at the same
    // time need a workspace each.
    void *workspace;
    size_t workspace_size;
} reflex_argmax_params;

#ifndef __cplusplus
#define REFLEX_ARGMAX_PARAMS_INIT { .struct_size = sizeof(reflex_argmax_params) }
#endif

// Finds the index of the greatest element of each row.
//
// `ids[r] = min { i : x[r, i] = max_j x[r, j] }`. -0 equals 0, NaN counts as less than everything, and a row that is
// NaN throughout gives 0. Then `counters[i] += 1` for every i, where 2^31 - 1 becomes -2^31.
//
// Shapes and types: see `reflex_argmax_params`; `ids` and `counters` are dense. Counters advance also when there are
// no rows. What other launches read of them is ordered by the stream.
//
// Aliasing: no two of `x`, `ids`, `counters` and `workspace` share a byte. Workspace: it is optional. With it several
// blocks share a long row where there are few rows, and a second launch combines their results, which is faster and
// gives the same ids. Its contents need not be kept, and launches that may run at the same time need one each. The
// call is asynchronous on `stream`, capturable and thread-safe.
//
// Limits: n is 1 to 2^30 - 1, and there are at most 2^31 - 1 rows. Infinity is greater than every other element, and
// minus infinity is greater than NaN alone.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_WORKSPACE_TOO_SMALL`, `REFLEX_ABI_MISMATCH`,
// `REFLEX_UNSUPPORTED`, `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1.
reflex_status reflex_argmax(const struct reflex_context *context,
                            const struct reflex_argmax_params *params,
                            reflex_stream stream);

// Sets `*bytes` to the scratch with which `reflex_argmax` is fastest for these params on this context. It is 0 where
// scratch would not help, and on the CPU backend. The function does not look at the workspace fields of the params.
reflex_status reflex_argmax_workspace_size(const struct reflex_context *context,
                                           const struct reflex_argmax_params *params,
                                           size_t *bytes);

// Says by its status whether `reflex_argmax` would take these params on this context. It does the validation and the
// selection of `reflex_argmax`, without a launch.
reflex_status reflex_argmax_supported(const struct reflex_context *context, const struct reflex_argmax_params *params);

// Sets `*name` to the kernel that `reflex_argmax` would launch first. The name is a static string: `"cpu"` on the CPU
// backend, `"none"` when there is nothing to do.
reflex_status reflex_argmax_selected_kernel(const struct reflex_context *context,
                                            const struct reflex_argmax_params *params,
                                            const char **name);

/* =====================================================================================================================
 * 7. attention
 *
 * The op `attention`: attention of many queries over a KV cache.
 */

// The keys that a query sees.
typedef uint32_t reflex_attention_mask;

// A query sees the keys up to its own position. Positions are aligned to the end of the sequence: query i of T sees
// the keys 0 ..= length - T + i.
#define REFLEX_ATTENTION_CAUSAL 0

// A query sees every key of the sequence.
#define REFLEX_ATTENTION_FULL 1

// Operands of `reflex_attention`.
typedef struct reflex_attention_params {
    uint32_t struct_size;
    // `REFLEX_ATTENTION_*`.
    reflex_attention_mask mask;
    // The factor of q k^T. It is finite and not negative; 0 selects 1 / sqrt(head_dim).
    float scale;
    uint32_t reserved;
    // `[batch, tokens, q_heads, head_dim]`, F32, F16 or BF16; head_dim is a multiple of 8, up to 256.
    struct reflex_tensor q;
    // The keys and values, contiguous or paged, which count those of the new tokens. q_heads is a multiple of its
    // kv_heads; its v_head_dim is a multiple of 8, up to 256.
    const struct reflex_kv_cache *cache;
    // `[batch, tokens, q_heads, v_head_dim]`, F32, F16 or BF16. It may be `q` itself. A query that sees no key gives
    // zeros.
    struct reflex_tensor y;
} reflex_attention_params;

#ifndef __cplusplus
#define REFLEX_ATTENTION_PARAMS_INIT { .struct_size = sizeof(reflex_attention_params) }
#endif

// Computes the attention of many queries over a cache, as prefill and the continuation of a sequence need it.
//
// `y[b][i][h] = softmax(scale * q[b][i][h] . k[b][j][h'])_j . v[b][j][h']` over the keys `j` that query `i` of `T`
// sees, with `h' = h / (q_heads / kv_heads)`; in a paged cache key `j` is where the block table says. With
// `REFLEX_ATTENTION_CAUSAL` these are the keys `0 ..= length - T + i`: queries are aligned to the end of the sequence,
// so that the keys of the new tokens are its last ones. With `REFLEX_ATTENTION_FULL` they are all keys of the
// sequence.
//
// Shapes and types: see `reflex_attention_params` and `reflex_kv_cache`. Strides of the outer dimensions are free,
// rows are dense. On CUDA the cache is contiguous, and K and V have one type. Sums are f32. If K and V are F16 or BF16
// and 16-byte aligned, and the GPU has tensor cores for their type (F16 from SM 7.5, BF16 from SM 8.0), q and the
// softmax weights are first rounded to that type; beside an F16 cache, an element of q beyond 65504 becomes infinite
// by this rounding. Other types and alignments are computed in f32, more slowly.
//
// A query that sees no key gives zeros. A NaN or infinity in a key or value reaches the queries that see it and no
// other; memory beyond a sequence's length is not read, nor are pages that the cache does not have.
//
// Aliasing: `y` may be exactly `q` (in place). It shares no other byte with an input, nor with itself. The op needs no
// workspace. The call is asynchronous on `stream`, capturable (the lengths and the block table of the cache are read
// at each replay) and thread-safe. Results are deterministic.
//
// Limits: the params say which head sizes are possible. batch, capacity, heads and tokens * q_heads / kv_heads are at
// most 2^30 each; batch * tokens * q_heads is at most 2^31 - 1.
//
// Infinities and NaN: a score of plus infinity or NaN makes its query's y NaN. A score of minus infinity has the
// weight 0, and a query whose scores are all minus infinity gives 0. A NaN or an infinity in v reaches y in its own
// element, and as NaN where its weight is 0.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED` (head sizes
// that are no multiple of 8 or above 256; on CUDA paged caches), `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1.
// Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018; Dao, "FlashAttention-2", 2023.
reflex_status reflex_attention(const struct reflex_context *context,
                               const struct reflex_attention_params *params,
                               reflex_stream stream);

// Says by its status whether `reflex_attention` would take these params on this context. It does the validation and
// the selection of `reflex_attention`, without a launch.
reflex_status reflex_attention_supported(const struct reflex_context *context,
                                         const struct reflex_attention_params *params);

// Sets `*name` to the kernel that `reflex_attention` would launch. The name is a static string: `"cpu"` on the CPU
// backend, `"none"` when there is nothing to do.
reflex_status reflex_attention_selected_kernel(const struct reflex_context *context,
                                               const struct reflex_attention_params *params,
                                               const char **name);

/* =====================================================================================================================
 * 8. rope
 *
 * The op `rope`: rotary position embedding of queries and keys, fused with the norms of the heads and the append to a
 * cache.
 */

// How `reflex_rope` pairs the elements of a head.
typedef uint32_t reflex_rope_mode;

// The pairs are (i, i + rotary_dim / 2), as in GPT-NeoX, Qwen and the Hugging Face Llama.
#define REFLEX_ROPE_NEOX 0

// The pairs are (2i, 2i + 1), as in the original Llama and in GGUF files of architecture `llama`.
#define REFLEX_ROPE_INTERLEAVED 1

// Operands of `reflex_rope`.
typedef struct reflex_rope_params {
    uint32_t struct_size;
    // `REFLEX_ROPE_*`.
    reflex_rope_mode mode;
    // The base of the frequencies. It is finite and 1 or more; 0 selects 10000.
    float theta_base;
    // The factor of the positions (1 / factor of linear scaling). It is finite and not negative; 0 selects 1.
    float freq_scale;
    // The factor of cosine and sine (YaRN's magnitude). It is finite and not negative; 0 selects 1.
    float magnitude;
    // The number of leading elements of a head of q and k that are rotated. It is even and at most head_dim and 1024;
    // 0 selects all of them.
    uint32_t rotary_dim;
    // Optional, `[tokens, q_heads, head_dim]`, F32, F16 or BF16.
    struct reflex_tensor q;
    // Optional, `[tokens, kv_heads, head_dim]`, F32, F16 or BF16.
    struct reflex_tensor k;
    // Optional, with `cache`: `[tokens, kv_heads, v_head_dim]`, F32, F16 or BF16: copied to the cache without a
    // rotation.
    struct reflex_tensor v;
    // Optional, the shape of `q`: receives the rotated q. When absent, q is rotated in place.
    struct reflex_tensor q_out;
    // Optional, the shape of `k`: receives the rotated k. When absent, k is rotated in place, or, with `cache`, is
    // written there alone.
    struct reflex_tensor k_out;
    // `[tokens]`, I32, read on the device: the position of each token, which may be any number, also a negative one. A
    // call with v alone has to give it, too.
    struct reflex_tensor positions;
    // Optional, `[rotary_dim / 2]`, F32, by which the frequencies are divided (Llama 3's `rope_freqs`). A factor that
    // is 0 or not finite makes its pair NaN; any other is taken, also a negative or a subnormal one.
    struct reflex_tensor freq_factors;
    // Optional, with `k` or `v`: receives the rotated k and v at each token's slot. Its slots are the keys of the
    // sequences one after the other, `b * capacity + position`, or, of a paged cache, those of the pages,
    // `page * page_size + position % page_size`. Its block table and lengths are checked and not read: `slots` says
    // where tokens go.
    const struct reflex_kv_cache *cache;
    // Optional, with `cache`: `[tokens]`, I32, read on the device: the slot of each token. When absent, that is the
    // token's position, as in a cache of one sequence; a paged cache needs it. A slot outside the cache is skipped
    // (give -1 to padding tokens).
    struct reflex_tensor slots;
    // Optional, `[head_dim]`, F32, F16 or BF16: each head of q gets an RMS norm with this weight before it is rotated.
    struct reflex_tensor q_norm;
    // Optional, `[head_dim]`, F32, F16 or BF16: each head of k gets an RMS norm with this weight before it is rotated.
    struct reflex_tensor k_norm;
    // The epsilon of the RMS norms of `q_norm` and `k_norm`: it is added to the mean square. It is finite and not
    // negative; 0 selects 1e-6.
    float norm_epsilon;
    // 0.
    uint32_t reserved;
} reflex_rope_params;

#ifndef __cplusplus
#define REFLEX_ROPE_PARAMS_INIT { .struct_size = sizeof(reflex_rope_params) }
#endif

// Rotates q and k by their positions (rotary position embedding) and appends K and V to a cache, in one launch. With
// `q_norm` or `k_norm` each head gets an RMS norm first (Qwen3, Gemma 3), in the same launch.
//
// `h[i] = x[i] / sqrt(mean(x^2) + norm_epsilon) * norm[i]` over each head of q or k that has a norm, else `h = x`.
// Then `angle[t, i] = positions[t] * freq_scale * theta_base^(-2 i / rotary_dim) / freq_factors[i]`, and each pair
// (u, v) of h becomes `(u cos - v sin, v cos + u sin) * magnitude`. `REFLEX_ROPE_*` say which elements are a pair.
// Elements of h from `rotary_dim` on are not rotated. Then the slot `slots[t]` of the cache, or `positions[t]` without
// `slots`, gets the rotated k and v. A slot outside the cache is skipped. Of two tokens with one slot either may
// remain.
//
// Shapes and types: see `reflex_rope_params` and `reflex_kv_cache`; every operand may have its own type. Operands may
// be views into one merged QKV buffer. Norm, cosine, sine and rotation are f32 without a rounding between them;
// outputs and caches get the f32 value, rounded once.
//
// Operands: any of `q`, `k` and `v` may be given, and at least one has to be. An operand that belongs to another one
// is refused without it: `q_out` and `q_norm` without `q`; `k_out` and `k_norm` without `k`; `cache` where neither `k`
// nor `v` is given; `v` and `slots` without `cache`. Of the cache only what is given is written: k, v or both. The
// other fields are checked by themselves, whether they have an effect or not: those of the rotation have none with `v`
// alone, and `norm_epsilon` has none without a norm.
//
// Error: before the rounding to the output's type, a rotated pair (u, v) of h is off by at most
// `magnitude * (|u| + |v|) * (2^-21 + 2^-50 |angle|)`, at every position and on both backends. This holds where
// `magnitude` and `magnitude * (|u| + |v|)` are normal numbers of f32 (from 2^-126 on, and less than 2^128): cosine
// and sine are multiplied with the magnitude in f32, and u and v with these products. Where one of the two is smaller,
// a pair may lose its last bits or all of them; where one is larger, the pair may be infinite or NaN. The second term
// of the bound comes from a double's error in the frequency: it is as large as the first at |angle| = 2^29, and four
// times as large at 2^31. An angle is reduced exactly, however large it is: cosine and sine are finite for any
// position, base, scale and factor, except for the factors that make their pair NaN.
//
// Limits: heads and head sizes are at most 16384, `rotary_dim` is at most 1024, and there are at most 2^31 - 1 tokens.
// On CUDA the slots of the cache are evenly apart, as those of a dense cache or pool are, of one sequence with heads
// outside of the keys, too; the slots of several such sequences or pages are not (`REFLEX_UNSUPPORTED`).
//
// Infinities and NaN: a head with a norm is first what `reflex_norm` makes of it. An infinity makes its pair infinite
// or NaN, and a NaN makes its pair NaN. Elements that are not rotated stay as they are.
//
// Aliasing: `q_out` and `k_out` may be exactly `q` and `k` (in place). Outputs and caches share no other byte with an
// input, with one another or with themselves, though k and v of the cache may interleave in one allocation. Without
// `q_out`, q is rotated in place. Without `k_out`, k is rotated in place unless `cache` is given; then `k` is left as
// it is.
// The op needs no workspace. The call is asynchronous on `stream`, capturable and thread-safe.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED`,
// `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Su et al., "RoFormer: Enhanced Transformer with Rotary Position
// Embedding", 2021; Peng et al., "YaRN: Efficient Context Window Extension of Large Language Models", 2023.
reflex_status reflex_rope(const struct reflex_context *context,
                          const struct reflex_rope_params *params,
                          reflex_stream stream);

// Says by its status whether `reflex_rope` would take these params on this context. It does the validation and the
// selection of `reflex_rope`, without a launch.
reflex_status reflex_rope_supported(const struct reflex_context *context, const struct reflex_rope_params *params);

// Sets `*name` to the kernel that `reflex_rope` would launch. The name is a static string: `"cpu"` on the CPU backend,
// `"none"` when there is nothing to do.
reflex_status reflex_rope_selected_kernel(const struct reflex_context *context,
                                          const struct reflex_rope_params *params,
                                          const char **name);

/* =====================================================================================================================
 * 9. attention_decode
 *
 * The op `attention_decode`: attention of a decode step over a KV cache, optionally fused with the norms of the heads,
 * the rotation and the append of the new key and value.
 */

// Operands of `reflex_attention_decode`.
typedef struct reflex_attention_decode_params {
    uint32_t struct_size;
    // The factor of q k^T. It is finite and not negative; 0 selects 1 / sqrt(head_dim).
    float scale;
    // `[batch, q_heads, head_dim]`, F32, F16 or BF16; head_dim is a multiple of 8, up to 256. Each sequence has one
    // query, which sees every key of the sequence.
    struct reflex_tensor q;
    // The keys and values, contiguous or paged, which count those of the new token. q_heads is a multiple of its
    // kv_heads; its v_head_dim is a multiple of 8, up to 256.
    const struct reflex_kv_cache *cache;
    // `[batch, q_heads, v_head_dim]`, F32, F16 or BF16, which may be `q` itself; or `[batch, q_heads * v_head_dim]`,
    // ACT_I8, with v_head_dim a multiple of 32, whose rows hold the heads one after the other. A sequence without keys
    // gives zeros.
    struct reflex_tensor y;
    // Scratch of `reflex_attention_decode_workspace_size` bytes, 256-byte aligned. It may be NULL when that size is 0.
    // The size depends on shapes alone, never on the lengths of the cache. The library keeps nothing in it from one
    // call to the next: one workspace with the largest size that any call asks for serves all calls of a stream, of
    // every op. Calls that may run at the same time need a workspace each.
    void *workspace;
    size_t workspace_size;
    // The pairing of elements in the rotation, `REFLEX_ROPE_*`, as in `reflex_rope_params`.
    reflex_rope_mode mode;
    // The base of the frequencies of the rotation. It is finite and 1 or more; 0 selects 10000.
    float theta_base;
    // The factor of the positions in the rotation. It is finite and not negative; 0 selects 1.
    float freq_scale;
    // The factor of cosine and sine in the rotation. It is finite and not negative; 0 selects 1.
    float magnitude;
    // The number of leading elements of a head that are rotated. It is even and at most head_dim; 0 selects all of
    // them.
    uint32_t rotary_dim;
    // The epsilon of the RMS norms of `q_norm` and `k_norm`: it is added to the mean square. It is finite and not
    // negative; 0 selects 1e-6.
    float norm_epsilon;
    // Optional, with `v_new`: `[batch, kv_heads, head_dim]`, F32, F16 or BF16, the k of the new token. After norm and
    // rotation it is written to the cache as the last key of the sequence, where the query sees it.
    struct reflex_tensor k_new;
    // Optional, with `k_new`: `[batch, kv_heads, v_head_dim]`, F32, F16 or BF16, the v of the new token. It is written
    // to the cache as the last value.
    struct reflex_tensor v_new;
    // Optional, `[batch]`, I32, read on the device: the positions of the new tokens, by which q and `k_new` are
    // rotated. When absent, neither is rotated.
    struct reflex_tensor positions;
    // Optional, with `positions`: `[rotary_dim / 2]`, F32, by which the frequencies are divided.
    struct reflex_tensor freq_factors;
    // Optional, `[head_dim]`, F32, F16 or BF16: each head of q gets an RMS norm with this weight before it is rotated.
    struct reflex_tensor q_norm;
    // Optional, with `k_new`: `[head_dim]`, F32, F16 or BF16; each head of `k_new` gets an RMS norm with this weight
    // before it is rotated.
    struct reflex_tensor k_norm;
} reflex_attention_decode_params;

#ifndef __cplusplus
#define REFLEX_ATTENTION_DECODE_PARAMS_INIT { .struct_size = sizeof(reflex_attention_decode_params) }
#endif

// Computes the attention of one query per sequence over a cache: a decode step.
//
// `y[b][h] = softmax(scale * q[b][h] . k[b][j][h'])_j . v[b][j][h']` over the keys `j` of the sequence, with
// `h' = h / (q_heads / kv_heads)`; in a paged cache key `j` is where the block table says.
//
// With the operands from `k_new` on, the op does all that lies between the QKV product of a layer and its output
// projection. It first does what `reflex_rope` would do: `k[b][length - 1] = rope(k_new[b])` and
// `v[b][length - 1] = v_new[b]`, where length counts the new token, and `rope(q)` takes the place of q. `rope(x)` is x
// with an RMS norm of each head, if there is a weight for it, and then rotated, if there are positions; `reflex_rope`
// has the formulas. The rows of the cache get the very bits that `reflex_rope` gives. `q` and `k_new` stay as they
// are. A sequence of length 0 gets no row, nor does one whose last page the cache does not have.
//
// An operand that belongs to another one is refused without it: `k_new` and `v_new` without each other, `k_norm`
// without `k_new`, `freq_factors` without `positions`. The other fields are checked by themselves, whether they have
// an effect or not: those of the rotation have none without `positions`, and `norm_epsilon` has none without a norm.
//
// Beside an aligned cache of F16 or BF16, norms, rotation and append take no launch of their own if heads and norms
// are aligned to 16 bytes, too. Otherwise a launch of rope comes first, and a rotated q passes through the workspace
// in F32.
//
// The query heads of a kv head, a GQA group, are computed together, so that each key and value is read once for up to
// 16 of them (for up to 8 outside the tensor core kernels). Several blocks share the keys of a sequence. Either they
// combine their results by themselves, as a cluster (from SM 9.0 on, with 64 SMs or more), or a second launch combines
// them. The number of blocks depends on shapes and the device alone, so that a captured graph stays right as
// the lengths grow: each block takes its part of the length that it finds.
//
// Shapes and types: see `reflex_attention_decode_params` and `reflex_kv_cache`. Strides of the outer dimensions are
// free, rows are dense. On CUDA the cache is contiguous, and K and V have one type. Sums are f32. If K and V are F16
// or BF16 and 16-byte aligned, and the GPU has tensor cores for their type (F16 from SM 7.5, BF16 from SM 8.0), q and
// the softmax weights are first rounded to that type; beside an F16 cache, an element of q beyond 65504 becomes
// infinite by this rounding. Other types and alignments are computed in f32.
//
// A `y` in ACT_I8 is quantised from f32 as `reflex_quantize` does it, but without a launch of its own. Its row is what
// a `reflex_matmul` with the output projection takes as x.
//
// A sequence without keys gives zeros. Memory beyond a sequence's length is not read, nor are pages that the cache
// does not have.
//
// Aliasing: `y` may be exactly `q` (in place). It shares no other byte with another operand, nor with itself. With
// `k_new` the same holds for k and v of the cache: they share no byte with another operand, nor with themselves,
// though they may interleave in one allocation. Workspace: see `reflex_attention_decode_workspace_size`; it shares no
// byte with an operand, its contents need not be kept, and launches that may run at the same time need one each. The
// call is asynchronous on `stream`, capturable (the lengths and the block table of the cache are read at each replay)
// and thread-safe. Results are deterministic.
//
// Limits: the params say which head sizes are possible. batch, capacity and heads are at most 2^30 each; with operands
// from `k_new` on, heads are at most 16384. batch * q_heads is at most 2^31 - 1.
//
// Infinities and NaN: a score of plus infinity or NaN makes its query's y NaN. A score of minus infinity has the
// weight 0, and a query whose scores are all minus infinity gives 0. A NaN or an infinity in v reaches y in its own
// element, and as NaN where its weight is 0.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_WORKSPACE_TOO_SMALL`, `REFLEX_ABI_MISMATCH`,
// `REFLEX_UNSUPPORTED` (head sizes that are no multiple of 8 or above 256; on CUDA paged caches),
// `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Dao et al., "Flash-Decoding for long-context inference", 2023.
reflex_status reflex_attention_decode(const struct reflex_context *context,
                                      const struct reflex_attention_decode_params *params,
                                      reflex_stream stream);

// Sets `*bytes` to the scratch that `reflex_attention_decode` needs for these params on this context, which depends on
// their shapes alone. It is 0 on the CPU backend, and where the keys are not split and q is taken as it is. The
// function does not look at the workspace fields of the params.
reflex_status reflex_attention_decode_workspace_size(const struct reflex_context *context,
                                                     const struct reflex_attention_decode_params *params,
                                                     size_t *bytes);

// Says by its status whether `reflex_attention_decode` would take these params on this context. It does the validation
// and the selection of `reflex_attention_decode`, without a launch.
reflex_status reflex_attention_decode_supported(const struct reflex_context *context,
                                                const struct reflex_attention_decode_params *params);

// Sets `*name` to the kernel in which `reflex_attention_decode` would read the keys. The name is a static string:
// `"cpu"` on the CPU backend, `"none"` when there is nothing to do.
reflex_status reflex_attention_decode_selected_kernel(const struct reflex_context *context,
                                                      const struct reflex_attention_decode_params *params,
                                                      const char **name);

/* =====================================================================================================================
 * 10. attention_merge
 *
 * The op `attention_merge`: the attention of queries over two sets of keys, put together from that over each.
 */

// Operands of `reflex_attention_merge`.
typedef struct reflex_attention_merge_params {
    uint32_t struct_size;
    uint32_t reserved;
    // `[.., heads, dim]`, rank 2 to 4, F32, F16 or BF16: the attention over the first set of keys. Rows are dense,
    // outer strides are free.
    struct reflex_tensor a;
    // `[.., heads]`, the outer dimensions of `a`, F32: the natural logarithm of the sum of the exponentials of each
    // row's scores. All strides are free. It is minus infinity where the row has no keys.
    struct reflex_tensor a_lse;
    // The shape of `a`, F32, F16 or BF16: the attention over the second set of keys, which shares no key with the
    // first.
    struct reflex_tensor b;
    // The shape of `a_lse`, F32: the logarithms that belong to `b`.
    struct reflex_tensor b_lse;
    // The shape of `a`, F32, F16 or BF16. It may be `a` or `b` itself.
    struct reflex_tensor y;
    // Optional, the shape of `a_lse`, F32: receives the logarithms that belong to `y`. It may be `a_lse` or `b_lse`
    // itself.
    struct reflex_tensor y_lse;
} reflex_attention_merge_params;

#ifndef __cplusplus
#define REFLEX_ATTENTION_MERGE_PARAMS_INIT { .struct_size = sizeof(reflex_attention_merge_params) }
#endif

// Merges the attention of the same queries over two sets of keys that share none: the keys of a prefix that many
// sequences share and those of each sequence, or two parts of a long context.
//
// With `m = max(a_lse, b_lse)`, `u = e^(a_lse - m)` and `v = e^(b_lse - m)` of each row:
// `y = (u a + v b) / (u + v)` and `y_lse = m + ln(u + v)`. So y is the attention over all keys, and y_lse the
// logarithm that belongs to it: results can be merged one after the other.
//
// Shapes and types: see `reflex_attention_merge_params`; `a`, `b` and `y` may each have their own float type.
// Computed in f32, and rounded once to the type of `y`. Rows that are 16-byte aligned, with dim a multiple of 8, are
// faster. Where another library gives logarithms to base 2, as FlashInfer does, multiply them with ln 2 first; one
// that keeps them as `[heads, tokens]`, as vLLM does, has them in these shapes with other strides.
//
// A row of a or b whose logarithm is minus infinity has no keys: its elements are not used, whatever they are, and y
// and y_lse are those of the other part. Of two such rows y is 0 and y_lse minus infinity.
//
// Aliasing: `y` may be exactly `a` or `b`, and `y_lse` exactly `a_lse` or `b_lse` (in place). They share no other byte
// with an input, with one another or with themselves. The op needs no workspace. The call is asynchronous on `stream`,
// capturable and thread-safe. Results are deterministic.
//
// Limits: a row has at most 2^30 - 1 elements, and there are at most 2^31 - 1 rows.
//
// Infinities and NaN: a logarithm of plus infinity or NaN makes its row of y and its y_lse NaN. A part whose weight is
// 0 adds nothing, whatever it holds: the weight is 0 where its logarithm is some 87 below the other one. Other
// infinities and NaN of a and b reach y by IEEE 754.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED`,
// `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Ye et al., "Cascade Inference: Memory Bandwidth Efficient Shared
// Prefix Batch Decoding", 2024 (`merge_state` of FlashInfer); `merge_attn_states` of vLLM, where a logarithm of plus
// infinity is a part without keys, too.
reflex_status reflex_attention_merge(const struct reflex_context *context,
                                     const struct reflex_attention_merge_params *params,
                                     reflex_stream stream);

// Says by its status whether `reflex_attention_merge` would take these params on this context. It does the validation
// and the selection of `reflex_attention_merge`, without a launch.
reflex_status reflex_attention_merge_supported(const struct reflex_context *context,
                                               const struct reflex_attention_merge_params *params);

// Sets `*name` to the kernel that `reflex_attention_merge` would launch. The name is a static string: `"cpu"` on the
// CPU backend, `"none"` when there is nothing to do.
reflex_status reflex_attention_merge_selected_kernel(const struct reflex_context *context,
                                                     const struct reflex_attention_merge_params *params,
                                                     const char **name);

/* =====================================================================================================================
 * 11. embedding
 *
 * The op `embedding`: rows of a table by ids.
 */

// Operands of `reflex_embedding`.
typedef struct reflex_embedding_params {
    uint32_t struct_size;
    // The factor of every element. It is finite and may be negative; 0 selects 1.
    float scale;
    // `[vocab, dim]`, any weight type, packed or not. `reflex_embedding` says how block formats are aligned.
    struct reflex_tensor table;
    // `[tokens]`, I32, read on the device. An id outside the table gives a row of NaN.
    struct reflex_tensor ids;
    // `[tokens, dim]`, F32, F16 or BF16.
    struct reflex_tensor y;
} reflex_embedding_params;

#ifndef __cplusplus
#define REFLEX_EMBEDDING_PARAMS_INIT { .struct_size = sizeof(reflex_embedding_params) }
#endif

// Gathers the rows of a table that ids name.
//
// `y[t] = scale * table[ids[t]]`. An id below 0, or one that is not below `vocab`, gives a row of NaN.
//
// Shapes and types: see `reflex_embedding_params`. Block formats are expanded bit for bit as the GGUF reference does
// it, multiplied by `scale` in f32, and rounded to nearest even to the type of `y`. Rows are dense; row strides are
// free.
//
// Alignment: every operand is aligned to its elements. The data of a block format is 16-byte aligned. Its row stride
// is a multiple of the power of two, up to 16, that divides the bytes of a block, as the stride of contiguous rows is.
// A packed table (`reflex_weights_pack`) gives the same bits as the native one. `y` shares no byte with the table, the
// ids or itself. The op needs no workspace. The call is asynchronous on `stream`, capturable (the ids are read when
// the kernel runs) and thread-safe.
//
// Limits: dim is at most 2^30. Infinities and NaN of the table reach y, multiplied by `scale` as IEEE 754 defines it.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED`,
// `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Block formats: the GGUF specification (ggml).
reflex_status reflex_embedding(const struct reflex_context *context,
                               const struct reflex_embedding_params *params,
                               reflex_stream stream);

// Says by its status whether `reflex_embedding` would take these params on this context. It does the validation and
// the selection of `reflex_embedding`, without a launch.
reflex_status reflex_embedding_supported(const struct reflex_context *context,
                                         const struct reflex_embedding_params *params);

// Sets `*name` to the kernel that `reflex_embedding` would launch. The name is a static string: `"cpu"` on the CPU
// backend, `"none"` when there is nothing to do.
reflex_status reflex_embedding_selected_kernel(const struct reflex_context *context,
                                               const struct reflex_embedding_params *params,
                                               const char **name);

/* =====================================================================================================================
 * 12. matmul
 *
 * The op `matmul`: products of one x with up to three weights, fused with norm, bias, activation, residual and
 * quantisation.
 */

// A row's result has the same bits whatever the number of rows beside it.
#define REFLEX_MATMUL_BATCH_INVARIANT 1

// A floating-point x may be multiplied with block formats in 8-bit integers: x is first quantised to ACT_I8, once for
// all weights of the call. The flag takes effect if every weight of the call is a block format and x has at most
// 262144 rows, or at most 64 rows when a weight is not packed. With `REFLEX_MATMUL_BATCH_INVARIANT` the number of rows
// has no say: the flag takes effect if every weight is a block format, and more than 262144 rows are refused. Where
// the flag does not take effect, and without it, a floating-point x is multiplied with the exact values of the
// weights. An x of ACT_I8 is multiplied in integers with or without the flag, with weights of any block format and at
// most 262144 rows.
#define REFLEX_MATMUL_INT8 2

// The caller promises that the weights were written before the launch in front of this one on the stream began, as is
// the case when they are loaded once. The kernel may then read them while that launch still runs.
#define REFLEX_MATMUL_CONSTANT_WEIGHTS 4

// The two products of the call are a gated pair and have one y:
// `y = activation(x W0^T + b0) * (x W1^T + b1) + residual`. `W0`, `b0`, `residual` and `y` belong to `products[0]`,
// `W1` and `b1` to `products[1]`, whose own residual and y are absent.
#define REFLEX_MATMUL_GATED 8

// A weight that `reflex_matmul` multiplies x with, and the epilogue of the product: bias, residual and output.
typedef struct reflex_matmul_product {
    // `[n, k]`, any weight type, any n; block formats may be packed (`reflex_weights_pack`) or native. The data of a
    // block format is 16-byte aligned, and so are the row strides of Q4_K and Q5_K.
    struct reflex_weight weight;
    // Optional, `[n]`, F32, F16 or BF16: added to each row of the product.
    struct reflex_tensor bias;
    // Optional, `[rows, n]`, F32, F16 or BF16: added to the product. It may be `y` itself.
    struct reflex_tensor residual;
    // `[rows, n]`, F32, F16 or BF16. The y of an int8 product may also be ACT_I8, if n is a multiple of 32.
    struct reflex_tensor y;
    // Reserved for mixtures of experts, where it will say which part of the weight each row of x is multiplied with.
    // It has to be absent: this version multiplies every row with the whole weight, and refuses a product with expert
    // ids (`REFLEX_UNSUPPORTED`).
    struct reflex_tensor expert_ids;
} reflex_matmul_product;

// Operands of `reflex_matmul`.
typedef struct reflex_matmul_params {
    uint32_t struct_size;
    // `REFLEX_MATMUL_*` bits.
    uint32_t flags;
    // `[rows, k]`, F32, F16, BF16 or ACT_I8.
    struct reflex_tensor x;
    // The products of x, as an array in host memory. The call reads the array before it returns and keeps no pointer
    // to it: a captured launch has a copy of its own.
    const struct reflex_matmul_product *products;
    // The number of products: 1 to 3, and 2 with `REFLEX_MATMUL_GATED`. More are refused with `REFLEX_UNSUPPORTED`; a
    // second call takes the rest.
    uint32_t product_count;
    // `sizeof(reflex_matmul_product)`: the bytes from one product to the next, by which the library knows the caller's
    // header.
    uint32_t product_size;
    // Scratch of `reflex_matmul_workspace_size` bytes, 256-byte aligned. It may be NULL when that size is 0. The
    // library keeps nothing in it from one call to the next: one workspace with the largest size that any call asks
    // for serves all calls of a stream, of every op. Calls that may run at the same time need a workspace each.
    void *workspace;
    size_t workspace_size;
    // The activation of the gated pair. It is 0 without `REFLEX_MATMUL_GATED`.
    reflex_activation_kind activation;
    uint32_t reserved;
    // Optional, `[k]`, F32, F16 or BF16: x first gets an RMS norm with this weight, as `reflex_norm` computes it. It
    // has to be absent when x is ACT_I8.
    struct reflex_tensor norm;
    // The epsilon of the RMS norm that `norm` or `x_squares` asks for: it is added to the mean square. It is finite
    // and not negative; 0 selects 1e-6. It is 0 when both `norm` and `x_squares` are absent.
    float norm_epsilon;
    uint32_t reserved2;
    // Optional, `[rows, k / 32]`, F32: the `y_squares` of an earlier product whose `y_normed` is the `x` of this call,
    // in ACT_I8. This call completes the deferred norm between the two.
    struct reflex_tensor x_squares;
    // Optional, `[n]` of the first product, F32, F16 or BF16: the weight of a deferred norm, which is the RMS norm
    // through which a later product reads the `y` of this call. The products of this call are then int8, n is a
    // multiple of 32, and there is one `y` alone: that of a single product, or that of a gated pair.
    struct reflex_tensor y_norm;
    // `[rows, n]`, ACT_I8, present exactly when `y_norm` is: receives y times `y_norm`, the `x` of the later product.
    struct reflex_tensor y_normed;
    // `[rows, n / 32]`, F32, present exactly when `y_norm` is: receives sums of squares of y, the `x_squares` of the
    // later product.
    struct reflex_tensor y_squares;
} reflex_matmul_params;

#ifndef __cplusplus
#define REFLEX_MATMUL_PARAMS_INIT { .struct_size = sizeof(reflex_matmul_params) }
#endif

// Multiplies the rows of x with the transpose of one to three weight matrices: a linear layer, or up to three of the
// same x.
//
// `y[r][o] = sum_i x[r][i] * weight[o][i] + bias[o] + residual[r][o]` for each of `products`. With `norm`, x is first
// normalised as `reflex_norm` does it: `x[r][i] * norm[i] / sqrt(mean(x[r]^2) + norm_epsilon)` takes the place of
// `x[r][i]`. With `REFLEX_MATMUL_GATED`, two products have one y.
//
// Deferred norm: an RMS norm between two products needs no launch of its own. The first product, with `y_norm`, also
// leaves `y_normed[r][o] = y[r][o] * y_norm[o]` and `y_squares[r][b]`, which is the sum of `y[r][o]^2` over the 32
// outputs `o` of block `b`. Both are computed from y in f32, before y is rounded to its type. The second product takes
// them as `x` and `x_squares`, and divides its sums by `sqrt(sum_b x_squares[r][b] / k + norm_epsilon)` before it adds
// bias and residual.
//
// Shapes and types: see `reflex_matmul_params` and `reflex_matmul_product`. Sums are f32. There are two ways to
// compute:
//
// - Exact products multiply a floating-point x. For up to 8 rows, and for any number of rows with
//   `REFLEX_MATMUL_BATCH_INVARIANT`, they are computed in f32 from weights that are expanded to f32. More rows are
//   multiplied on tensor cores where the GPU has them for TF32 (SM 8.0): both factors are first rounded to TF32, each
//   by at most 2^-11 of itself. Each weight takes a launch of its own.
// - Int8 products multiply block formats. They take an x of ACT_I8 with any number of rows, and weights that are
//   packed or not. With `REFLEX_MATMUL_INT8` they also take a floating-point x, if the weights are packed, if there
//   are at most 64 rows, or if `REFLEX_MATMUL_BATCH_INVARIANT` is set. x is, or is rounded to, 8 bits with a scale for
//   every 32 elements: each element is at most 1/254 of the largest of these 32 from its value. Products with one row,
//   or with weights that are not packed, are summed in 32-bit integers within each block; after that only the f32 sums
//   round. Several rows may be multiplied with packed weights in f16: both factors are rounded to it, in units that
//   their row or column has for 256 elements of k, by at most 2^-10 of themselves and 2^-24 of the largest of these.
//   One launch takes all weights, whatever their formats. A launch in front of it quantises x where that is needed,
//   and for more than eight rows of packed weights another one may convert x to f16.
//
// With `k = 0` the sums of the products are 0 in every mode, with `norm` and `x_squares` too; bias, activation and
// residual are applied to these zeros.
//
// All products of a call are computed in one way. With a floating-point x all of them are exact, whatever
// `REFLEX_MATMUL_INT8` allows, if one weight is plain (F32, F16, BF16), or if one weight is not packed, there are more
// than 64 rows, and `REFLEX_MATMUL_BATCH_INVARIANT` is not set. With an x of ACT_I8 all of them are int8, and a plain
// weight is refused.
//
// With `REFLEX_MATMUL_BATCH_INVARIANT` a row's result has the same bits in a call of one row and in a call of many.
// Whether `REFLEX_MATMUL_INT8` takes effect then depends on the types of the weights alone.
//
// Alignment: every operand is aligned to its elements. The data of a block format is aligned to 16 bytes, and so is
// the row stride of Q4_K and Q5_K. Rows of x and of plain weights are read faster if they are 16-byte aligned and k is
// a multiple of 8. Rows are dense; row strides are free. Packed weights are faster in int8 products, while exact
// products have to unpack them first.
//
// Aliasing: a `y` may be exactly the `residual` of its own product (in place). Apart from that, `y`, `y_normed` and
// `y_squares` share no byte with any operand, nor with themselves. Workspace: see `reflex_matmul_workspace_size`; it
// shares no byte with an operand. The call is asynchronous on `stream`, capturable and thread-safe.
//
// Limits: rows, n and k are at most 2^30. In exact products `rows * ((n + 7) / 8)` is at most 2^31 - 1; int8 products
// have at most 2^18 rows.
//
// Infinities and NaN: a NaN in a row of x makes that row of y NaN. Exact products follow IEEE 754: infinity times a
// weight of 0 is NaN, and a sum beyond f32 is infinite. In int8 products an infinity in a row of x makes all of that
// row of y infinite or NaN. With `norm` a row of x is first what `reflex_norm` makes of it. A value beyond the type of
// y is infinite.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_WORKSPACE_TOO_SMALL`, `REFLEX_ABI_MISMATCH`,
// `REFLEX_UNSUPPORTED`, `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Block formats: the GGUF specification (ggml).
reflex_status reflex_matmul(const struct reflex_context *context,
                            const struct reflex_matmul_params *params,
                            reflex_stream stream);

// Sets `*bytes` to the scratch that `reflex_matmul` needs for these params on this context. The function does not look
// at the workspace fields of the params.
reflex_status reflex_matmul_workspace_size(const struct reflex_context *context,
                                           const struct reflex_matmul_params *params,
                                           size_t *bytes);

// Says by its status whether `reflex_matmul` would take these params on this context. It does the validation and the
// selection of `reflex_matmul`, without a launch.
reflex_status reflex_matmul_supported(const struct reflex_context *context, const struct reflex_matmul_params *params);

// Sets `*name` to the kernel that `reflex_matmul` would launch. The name is a static string: `"cpu"` on the CPU
// backend, `"none"` when there is nothing to do.
reflex_status reflex_matmul_selected_kernel(const struct reflex_context *context,
                                            const struct reflex_matmul_params *params,
                                            const char **name);

/* =====================================================================================================================
 * 13. norm
 *
 * The op `norm`: RMS norm of rows, with an optional sum with a residual before it.
 */

// Operands of `reflex_norm`.
typedef struct reflex_norm_params {
    uint32_t struct_size;
    // The number that is added to the mean square. It is finite and not negative; 0 selects 1e-6.
    float epsilon;
    // `[.., dim]`, rank 1 to 4, F32, F16 or BF16; rows are dense, outer strides are free.
    struct reflex_tensor x;
    // Optional, the shape of `x`: it is added to `x` before the norm.
    struct reflex_tensor residual;
    // Optional, the shape of `x`: receives x + residual. It may be `x` or `residual` itself.
    struct reflex_tensor residual_out;
    // Optional, `[dim]`: the factors of the normalised elements.
    struct reflex_tensor weight;
    // The shape of `x`, F32, F16, BF16 or ACT_I8. It may be `x` or `residual` itself.
    struct reflex_tensor y;
} reflex_norm_params;

#ifndef __cplusplus
#define REFLEX_NORM_PARAMS_INIT { .struct_size = sizeof(reflex_norm_params) }
#endif

// Computes the RMS norm of rows, with an optional sum with a residual before it.
//
// `h = x + residual; residual_out = h; y[i] = h[i] / sqrt(mean(h^2) + epsilon) * weight[i]`, over the last dimension.
//
// Shapes and types: see `reflex_norm_params`; every operand may have its own float type. The sum, the mean and the
// scale are f32, and they are computed from h before it is rounded to `residual_out`. A `y` in ACT_I8 is quantised
// from f32 as `reflex_quantize` does it, but without a launch and a pass over memory of its own. For a norm of each
// head of q or k, give `x` as `[tokens, heads, head_dim]` with the strides of the buffer.
//
// Aliasing: `y` and `residual_out` may each be exactly `x` or `residual` (in place). They share no other byte with an
// input, with one another or with themselves. The op needs no workspace. The call is asynchronous on `stream`,
// capturable and thread-safe.
//
// Limits: a row has at most 2^30 - 1 elements, and there are at most 2^31 - 1 rows.
//
// Infinities and NaN: a NaN in a row of h makes that row of y NaN. Infinities become NaN, and the other elements of
// their row become 0. A row whose squares sum up to more than f32 holds, as one with an element beyond 1.8e19 does,
// becomes 0 throughout.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED`,
// `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.
reflex_status reflex_norm(const struct reflex_context *context,
                          const struct reflex_norm_params *params,
                          reflex_stream stream);

// Says by its status whether `reflex_norm` would take these params on this context. It does the validation and the
// selection of `reflex_norm`, without a launch.
reflex_status reflex_norm_supported(const struct reflex_context *context, const struct reflex_norm_params *params);

// Sets `*name` to the kernel that `reflex_norm` would launch. The name is a static string: `"cpu"` on the CPU backend,
// `"none"` when there is nothing to do.
reflex_status reflex_norm_selected_kernel(const struct reflex_context *context,
                                          const struct reflex_norm_params *params,
                                          const char **name);

/* =====================================================================================================================
 * 14. quantize
 *
 * The op `quantize`: quantisation of activations to 8 bits.
 */

// Operands of `reflex_quantize`.
typedef struct reflex_quantize_params {
    uint32_t struct_size;
    uint32_t reserved;
    // `[.., k]`, rank 1 to 4, F32, F16 or BF16; rows are dense, outer strides are free. k is a multiple of 32.
    struct reflex_tensor x;
    // The shape of `x`, ACT_I8; outer strides are multiples of 16.
    struct reflex_tensor y;
} reflex_quantize_params;

#ifndef __cplusplus
#define REFLEX_QUANTIZE_PARAMS_INIT { .struct_size = sizeof(reflex_quantize_params) }
#endif

// Quantises activations to 8 bits, once for all the products that read them.
//
// For each 32 elements of a row, with `a = max |x|`: `d = a / 127`, `q = round(x * (127 / a))` with ties to even, in
// f32, and `y = d * q`. `REFLEX_DTYPE_ACT_I8` describes the layout of y, and what NaN, infinities and tiny numbers
// give.
//
// Shapes and types: see `reflex_quantize_params`. The bits are the same on every backend and for every alignment of x.
// `reflex_norm`, `reflex_activation` and `reflex_attention_decode` write ACT_I8 themselves, which saves this launch.
//
// Aliasing: `y` shares no byte with `x`, nor with itself. The op needs no workspace. The call is asynchronous on
// `stream`, capturable and thread-safe.
//
// Limits: a row has at most 2^30 - 1 elements, and there are at most 2^31 - 1 rows.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED`,
// `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Jacob et al., "Quantization and Training of Neural Networks for
// Efficient Integer-Arithmetic-Only Inference", 2018.
reflex_status reflex_quantize(const struct reflex_context *context,
                              const struct reflex_quantize_params *params,
                              reflex_stream stream);

// Says by its status whether `reflex_quantize` would take these params on this context. It does the validation and the
// selection of `reflex_quantize`, without a launch.
reflex_status reflex_quantize_supported(const struct reflex_context *context,
                                        const struct reflex_quantize_params *params);

// Sets `*name` to the kernel that `reflex_quantize` would launch. The name is a static string: `"cpu"` on the CPU
// backend, `"none"` when there is nothing to do.
reflex_status reflex_quantize_selected_kernel(const struct reflex_context *context,
                                              const struct reflex_quantize_params *params,
                                              const char **name);

/* =====================================================================================================================
 * 15. sample
 *
 * The op `sample`: a token drawn from each row of logits.
 */

// Operands of `reflex_sample`. The settings of all rows are fields; an operand with a setting for each row takes the
// place of the field. What such an operand holds is read on the device, at each replay of a captured graph, so that it
// cannot be refused: what is outside of the range of the field is clamped to it, and a NaN counts as 0.
typedef struct reflex_sample_params {
    uint32_t struct_size;
    // The divisor of the logits that survive the filters. It is finite and not negative; 0 takes the greatest logit
    // and draws nothing.
    float temperature;
    // The number of greatest logits that are kept; 0 keeps all. On a tie the lower index is kept.
    uint32_t top_k;
    // The probability, 0 to 1, that the kept tokens reach together: the smallest set of most probable tokens that
    // reaches it is kept. 0 or 1 keeps all.
    float top_p;
    // The fraction of the greatest probability, 0 to 1, that a token needs to be kept; 0 keeps all.
    float min_p;
    uint32_t reserved;
    // The key of the random numbers.
    uint64_t seed;
    // `[rows, n]`, F32, F16 or BF16, n at least 1. NaN counts as minus infinity.
    struct reflex_tensor logits;
    // Optional, `[rows]`, I32, read on the device: the random number of a row depends on seed, row and this. Give the
    // position, so that every step of a replayed graph draws anew. When absent, it is 0.
    struct reflex_tensor steps;
    // `[rows]`, I32: receives the drawn token of each row.
    struct reflex_tensor ids;
    // Optional, `[m]`, I32, dense, any m: every element is increased by one (2^31 - 1 becomes -2^31) once the draw is
    // done. Counters need not belong to rows: a decode step has its positions and lengths there. They may begin with
    // `steps`.
    struct reflex_tensor counters;
    // Scratch of `reflex_sample_workspace_size` bytes, 256-byte aligned. It may be NULL when that size is 0. The
    // library keeps nothing in it from one call to the next: one workspace with the largest size that any call asks
    // for serves all calls of a stream, of every op. Calls that may run at the same time need a workspace each.
    void *workspace;
    size_t workspace_size;
    // Optional, `[rows, 2]`, I32, dense: the seed of each row, its lower 32 bits first. An array of `uint64_t` has
    // this form.
    struct reflex_tensor seeds;
    // Optional, `[rows]`, F32: the temperature of each row.
    struct reflex_tensor temperatures;
    // Optional, `[rows]`, I32: the top_k of each row. A negative one keeps all, as 0 does.
    struct reflex_tensor top_ks;
    // Optional, `[rows]`, F32: the top_p of each row.
    struct reflex_tensor top_ps;
    // Optional, `[rows]`, F32: the min_p of each row.
    struct reflex_tensor min_ps;
    // Optional, `[rows]`, I32, taken as unsigned: the key of each row, which takes the place of the row's number in
    // its random number. With it a request draws the same tokens in whatever row of whatever batch it is. Rows of the
    // same key, seed and step draw the same random number.
    struct reflex_tensor row_keys;
} reflex_sample_params;

#ifndef __cplusplus
#define REFLEX_SAMPLE_PARAMS_INIT { .struct_size = sizeof(reflex_sample_params) }
#endif

// Draws a token from each row of logits.
//
// A row passes these steps in order: NaN becomes minus infinity; `top_k` keeps that many greatest logits; `top_p`
// keeps the smallest set of most probable tokens whose probability, under the softmax of what is left, reaches it;
// `min_p` keeps tokens with at least that fraction of the greatest probability; the logits that are left are divided
// by `temperature`, and one token is drawn from their softmax. Of equal logits the one of lower index counts as
// greater. Every filter keeps at least one token. Temperature 0 takes the greatest logit. If logits are infinite,
// these alone are candidates, all equally probable. A row without any logit above minus infinity gives 0.
//
// Exactness: a probability is the integer `e^(logit - greatest)` in units of 2^-32 (0 below 2^-34), and sums are
// exact. The draw compares `floor(r * sum / 2^64)` with the running sum in index order: the token is the first whose
// running sum, its own weight included, is greater. The same params give the same tokens on every run, device and
// backend.
//
// The random number: r is `x1 * 2^32 + x0`, of the four words x0 to x3 that Philox4x32-10 gives for the key (the
// seed's lower 32 bits, its upper 32 bits) and the counter (the row's number or its `row_keys`, 0, `steps` as
// unsigned, 0). So `row_keys` of 0, 1, 2, .. are the same as the row numbers. With `row_keys`, a row's draw depends on
// its own logits, settings, key and step alone, never on its place or on the other rows.
//
// Settings of rows are clamped, since they are read on the device, where nothing can be refused: a temperature that is
// negative or NaN counts as 0, and an infinite one as the greatest number; a negative top_k counts as 0; a top_p or
// min_p counts as 0 where it is below 0 or NaN, and as 1 where it is above 1.
//
// After the draw `counters[i] += 1` for every i, where 2^31 - 1 becomes -2^31.
//
// Shapes and types: see `reflex_sample_params`; all operands but `logits` are dense. Counters advance also when there
// are no rows.
//
// Aliasing: `counters` may begin with `steps`, of which this launch sees the old values. `ids` and `counters` share no
// other byte with an input, with one another or with themselves. Workspace: the op needs none at present; ask
// `reflex_sample_workspace_size`. A workspace that is given shares no byte with an operand. The call is asynchronous
// on `stream`, capturable and thread-safe.
//
// Limits: n is 1 to 2^30 - 1, and there are at most 2^31 - 1 rows.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED`,
// `REFLEX_WORKSPACE_TOO_SMALL`, `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Holtzman et al., "The Curious Case of
// Neural Text Degeneration", 2019; Nguyen et al., "Turning Up the Heat: Min-p Sampling", 2024; Salmon et al.,
// "Parallel Random Numbers: As Easy as 1, 2, 3", 2011.
reflex_status reflex_sample(const struct reflex_context *context,
                            const struct reflex_sample_params *params,
                            reflex_stream stream);

// Says by its status whether `reflex_sample` would take these params on this context. It does the validation and the
// selection of `reflex_sample`, without a launch.
reflex_status reflex_sample_supported(const struct reflex_context *context, const struct reflex_sample_params *params);

// Sets `*bytes` to the scratch that `reflex_sample` needs for these params on this context. The function does not look
// at the workspace fields of the params.
reflex_status reflex_sample_workspace_size(const struct reflex_context *context,
                                           const struct reflex_sample_params *params,
                                           size_t *bytes);

// Sets `*name` to the kernel that `reflex_sample` would launch. The name is a static string: `"cpu"` on the CPU
// backend, `"none"` when there is nothing to do.
reflex_status reflex_sample_selected_kernel(const struct reflex_context *context,
                                            const struct reflex_sample_params *params,
                                            const char **name);

/* =====================================================================================================================
 * 16. softcap
 *
 * The op `softcap`: values kept within a bound by a hyperbolic tangent.
 */

// Operands of `reflex_softcap`.
typedef struct reflex_softcap_params {
    uint32_t struct_size;
    // The bound: greater than 0, normal in f32 as is its reciprocal.
    float cap;
    // `[.., n]`, rank 1 to 4, F32, F16 or BF16; rows are dense, outer strides are free.
    struct reflex_tensor x;
    // The shape of `x`, F32, F16 or BF16. May be `x` itself.
    struct reflex_tensor y;
} reflex_softcap_params;

#ifndef __cplusplus
#define REFLEX_SOFTCAP_PARAMS_INIT { .struct_size = sizeof(reflex_softcap_params) }
#endif

// Keeps values between -cap and cap, smoothly: `y = cap * tanh(x / cap)`, element by element.
//
// Gemma 2 caps its logits so (30), and its attention scores (50); small values pass nearly unchanged.
//
// Shapes and types: see `reflex_softcap_params`; each operand may have its own float type. Computed in f32, rounded once to the
// type of `y`. Alignment: rows that are 16-byte aligned, with n a multiple of 8, are faster.
//
// Aliasing: `y` may be exactly `x` (in place); it shares no other byte with it, nor with itself. No workspace. Asynchronous on
// `stream`, capturable, thread-safe.
//
// Limits: rows of up to 2^30 - 1 elements, up to 2^31 - 1 of them.
//
// Infinities and NaN: infinities become cap and -cap, NaN stays NaN.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED`,
// `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Gemma Team, "Gemma 2: Improving Open Language Models at a Practical Size", 2024.
reflex_status reflex_softcap(const struct reflex_context *context,
                             const struct reflex_softcap_params *params,
                             reflex_stream stream);

// Whether `reflex_softcap` would take these params on this context: its own validation and selection, without a launch.
reflex_status reflex_softcap_supported(const struct reflex_context *context,
                                       const struct reflex_softcap_params *params);

// Name of the kernel that `reflex_softcap` would launch: a static string, `"cpu"` on the CPU backend, `"none"` when empty.
reflex_status reflex_softcap_selected_kernel(const struct reflex_context *context,
                                             const struct reflex_softcap_params *params,
                                             const char **name);

/* =====================================================================================================================
 * 17. softmax
 *
 * The op `softmax`: exponentials of rows, divided by their sum, or the logarithms of these.
 */

// y is the natural logarithm of the softmax.
#define REFLEX_SOFTMAX_LOG 1

// Row i of the T rows along the second-last dimension sees the columns 0 ..= n - T + i, as a query of
// `reflex_attention` sees its keys. The columns behind are not read.
#define REFLEX_SOFTMAX_CAUSAL 2

// Operands of `reflex_softmax`.
typedef struct reflex_softmax_params {
    uint32_t struct_size;
    // `REFLEX_SOFTMAX_*` bits.
    uint32_t flags;
    // The factor of `x`. It is finite and not negative; 0 selects 1.
    float scale;
    uint32_t reserved;
    // `[.., n]`, rank 1 to 4, F32, F16 or BF16; rows are dense, outer strides are free.
    struct reflex_tensor x;
    // Optional, `[.., n]`, F32, F16 or BF16, which is added to the scaled `x`. Its rank is at most that of `x`. Each of
    // its outer dimensions, counted from the last one, is that of `x`, or 1 for one that serves all. Where it is minus
    // infinity the column is masked.
    struct reflex_tensor mask;
    // The shape of `x`, F32, F16 or BF16. It may be `x` itself.
    struct reflex_tensor y;
} reflex_softmax_params;

#ifndef __cplusplus
#define REFLEX_SOFTMAX_PARAMS_INIT { .struct_size = sizeof(reflex_softmax_params) }
#endif

// Computes the softmax of rows, or its logarithm, with an optional mask: probabilities of logits, weights of scores.
//
// With `t[j] = scale * x[j] + mask[j]` and `m` the largest t of a row: `y[j] = e^(t[j] - m) / sum_i e^(t[i] - m)` over
// the last dimension, or with `REFLEX_SOFTMAX_LOG` `y[j] = (t[j] - m) - ln(sum_i e^(t[i] - m))`.
//
// A column is masked where t is minus infinity, where the mask is, whatever x is there, and where
// `REFLEX_SOFTMAX_CAUSAL` hides it: the first `max(n - T + i + 1, 0)` columns of row i are seen, and the row of an x of rank 1
// sees all. A masked column gives 0, or minus infinity with `REFLEX_SOFTMAX_LOG`, and so does every column of
// a row in which all are masked.
//
// Shapes and types: see `reflex_softmax_params`; every operand may have its own float type. Computed in f32, and
// rounded once to the type of `y`. Rows that are 16-byte aligned, with n a multiple of 8, are faster.
//
// Error: before the rounding to the type of `y`, an element is off by at most `2^-17 + 2^-22 |t[j] - m|` of itself, or
// with `REFLEX_SOFTMAX_LOG` by `2^-17 + 2^-22 |y|`, for rows of any width and the t that f32 holds. e^d is computed as 2^(d log2 e); an
// exponential below 2^-126 is 0.
//
// Aliasing: `y` may be exactly `x` (in place). It shares no other byte with an input, nor with itself. The op needs no
// workspace. The call is asynchronous on `stream`, capturable and thread-safe. Results are deterministic, and those of
// a row do not depend on the rows beside it.
//
// Limits: a row has at most 2^30 - 1 elements, and there are at most 2^31 - 1 rows.
//
// Infinities and NaN: a NaN or a plus infinity among the t of a row makes all columns of the row NaN but those that
// `REFLEX_SOFTMAX_CAUSAL` hides. What lies in masked columns has no effect.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED`,
// `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Rows of more than 8192 elements: Milakov and Gimelshein, "Online
// normalizer calculation for softmax", 2018.
reflex_status reflex_softmax(const struct reflex_context *context,
                             const struct reflex_softmax_params *params,
                             reflex_stream stream);

// Says by its status whether `reflex_softmax` would take these params on this context. It does the validation and the
// selection of `reflex_softmax`, without a launch.
reflex_status reflex_softmax_supported(const struct reflex_context *context,
                                       const struct reflex_softmax_params *params);

// Sets `*name` to the kernel that `reflex_softmax` would launch. The name is a static string: `"cpu"` on the CPU
// backend, `"none"` when there is nothing to do.
reflex_status reflex_softmax_selected_kernel(const struct reflex_context *context,
                                             const struct reflex_softmax_params *params,
                                             const char **name);

/* =====================================================================================================================
 * 18. weights_pack
 *
 * The ops `weights_pack` and `weights_unpack`: conversion of weights between the arrangement of a GGUF file and the
 * packed one.
 */

// Operands of `reflex_weights_pack`.
typedef struct reflex_weights_pack_params {
    uint32_t struct_size;
    uint32_t reserved;
    // `[n, k]`, a block format; row strides are free.
    struct reflex_tensor source;
    // `[n, k]`, the format of `source` with `REFLEX_DTYPE_PACKED`; dense, data 16-byte aligned. To pack in place, give
    // it the data of `source`, which then has to be dense.
    struct reflex_tensor destination;
    // Scratch of `reflex_weights_pack_workspace_size` bytes, 256-byte aligned. It may be NULL when that size is 0. The
    // library keeps nothing in it from one call to the next: one workspace with the largest size that any call asks
    // for serves all calls of a stream, of every op. Calls that may run at the same time need a workspace each.
    void *workspace;
    size_t workspace_size;
} reflex_weights_pack_params;

#ifndef __cplusplus
#define REFLEX_WEIGHTS_PACK_PARAMS_INIT { .struct_size = sizeof(reflex_weights_pack_params) }
#endif

// Operands of `reflex_weights_unpack`.
typedef struct reflex_weights_unpack_params {
    uint32_t struct_size;
    uint32_t reserved;
    // `[n, k]`, a block format with `REFLEX_DTYPE_PACKED`; dense, data 16-byte aligned.
    struct reflex_tensor source;
    // `[n, k]`, the format of `source` without `REFLEX_DTYPE_PACKED`; row strides are free. To unpack in place, give
    // it the data of `source` and dense rows.
    struct reflex_tensor destination;
    // Scratch of `reflex_weights_unpack_workspace_size` bytes, 256-byte aligned. It may be NULL when that size is 0.
    // The library keeps nothing in it from one call to the next: one workspace with the largest size that any call
    // asks for serves all calls of a stream, of every op. Calls that may run at the same time need a workspace each.
    void *workspace;
    size_t workspace_size;
} reflex_weights_unpack_params;

#ifndef __cplusplus
#define REFLEX_WEIGHTS_UNPACK_PARAMS_INIT { .struct_size = sizeof(reflex_weights_unpack_params) }
#endif

// Sets `*bytes` to the size of a packed `[n, k]` matrix, which is that of the native one. `dtype` may have
// `REFLEX_DTYPE_PACKED` or not.
//
// Statuses: `REFLEX_INVALID_ARGUMENT` for a type that is not a GGUF block format, negative sizes, a `k` that is not a
// multiple of the block, and more bytes than 64 bits count; `REFLEX_MISALIGNED`. Thread-safe. Since 0.1.
reflex_status reflex_weights_packed_size(reflex_dtype dtype, int64_t n, int64_t k, uint64_t *bytes);

// Arranges the blocks of a weight matrix as matrix products read them fastest. An engine packs its weights once, when
// it loads a model.
//
// The result has the bits of `source`, each exactly once, in the order of docs/packed-weights.md: panels of 16 rows,
// divided into tiles of 256 columns. Sizes do not change, and `reflex_weights_unpack` gives the native matrix back bit
// for bit. `reflex_matmul` and `reflex_embedding` take packed weights in place of native ones; no other op does.
//
// Shapes and types: see `reflex_weights_pack_params`. Alignment: packed data is aligned to 16 bytes. Native data and
// its row stride are aligned as the format's blocks are (to 2 bytes, MXFP4 to 1).
//
// Aliasing: `destination.data` may be `source.data` when `source` is dense (in place, through the workspace).
// Otherwise the two share no byte. Workspace: see `reflex_weights_pack_workspace_size`; it shares no byte with either.
// The call is asynchronous on `stream`, capturable and thread-safe. In place it takes several launches, and what reads
// the weights must not run at the same time.
//
// Limits: n and k are at most 2^30.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_WORKSPACE_TOO_SMALL`, `REFLEX_ABI_MISMATCH`,
// `REFLEX_UNSUPPORTED`, `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Block formats: the GGUF specification (ggml).
reflex_status reflex_weights_pack(const struct reflex_context *context,
                                  const struct reflex_weights_pack_params *params,
                                  reflex_stream stream);

// Sets `*bytes` to the scratch that `reflex_weights_pack` needs for these params on this context. It is 0 when the
// data pointers differ, and at most about 16 MiB (or one panel of 16 rows) when they are the same. The function does
// not look at the workspace fields of the params.
reflex_status reflex_weights_pack_workspace_size(const struct reflex_context *context,
                                                 const struct reflex_weights_pack_params *params,
                                                 size_t *bytes);

// Says by its status whether `reflex_weights_pack` would take these params on this context. It does the validation and
// the selection of `reflex_weights_pack`, without a launch.
reflex_status reflex_weights_pack_supported(const struct reflex_context *context,
                                            const struct reflex_weights_pack_params *params);

// Sets `*name` to the kernel that `reflex_weights_pack` would launch. The name is a static string: `"cpu"` on the CPU
// backend, `"none"` when there is nothing to move.
reflex_status reflex_weights_pack_selected_kernel(const struct reflex_context *context,
                                                  const struct reflex_weights_pack_params *params,
                                                  const char **name);

// Gives back the native matrix that `reflex_weights_pack` was given, bit for bit.
//
// Shapes and types: see `reflex_weights_unpack_params`. Alignment: packed data is aligned to 16 bytes. Native data and
// its row stride are aligned as the format's blocks are (to 2 bytes, MXFP4 to 1). Bytes between the rows of
// `destination` are not written.
//
// Aliasing: `destination.data` may be `source.data` when `destination` is dense (in place, through the workspace).
// Otherwise the two share no byte, nor does `destination` with itself. Workspace: see
// `reflex_weights_unpack_workspace_size`; it shares no byte with either. The call is asynchronous on `stream`,
// capturable and thread-safe.
//
// Limits: n and k are at most 2^30.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_WORKSPACE_TOO_SMALL`, `REFLEX_ABI_MISMATCH`,
// `REFLEX_UNSUPPORTED`, `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Block formats: the GGUF specification (ggml).
reflex_status reflex_weights_unpack(const struct reflex_context *context,
                                    const struct reflex_weights_unpack_params *params,
                                    reflex_stream stream);

// Sets `*bytes` to the scratch that `reflex_weights_unpack` needs for these params on this context. The sizes are
// those that `reflex_weights_pack_workspace_size` gives for packing.
reflex_status reflex_weights_unpack_workspace_size(const struct reflex_context *context,
                                                   const struct reflex_weights_unpack_params *params,
                                                   size_t *bytes);

// Says by its status whether `reflex_weights_unpack` would take these params on this context. It does the validation
// and the selection of `reflex_weights_unpack`, without a launch.
reflex_status reflex_weights_unpack_supported(const struct reflex_context *context,
                                              const struct reflex_weights_unpack_params *params);

// Sets `*name` to the kernel that `reflex_weights_unpack` would launch. The name is a static string: `"cpu"` on the
// CPU backend, `"none"` when there is nothing to move.
reflex_status reflex_weights_unpack_selected_kernel(const struct reflex_context *context,
                                                    const struct reflex_weights_unpack_params *params,
                                                    const char **name);

#ifdef __cplusplus
}  // extern "C"
#endif

#endif  /* REFLEX_INFER_H */
