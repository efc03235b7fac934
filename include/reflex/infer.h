/* reflex-infer: low-latency inference kernels for edge NVIDIA GPUs.
 *
 * Generated from the Rust sources by `./dev header`; do not edit.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Contents
 *
 *    1  Types: The types that every call uses: statuses, element types, tensors and streams, and what the library was
 *       built with.
 *       1.1 status, 1.2 error, 1.3 dtype, 1.4 tensor, 1.5 weight, 1.6 size, 1.7 stream, 1.8 build info
 *    2  Runtime: Contexts, and what is made through them, on either backend: streams, memory, events and graphs.
 *       `reflex_context_create` says what a child process may do with them after `fork`.
 *       2.1 context, 2.2 stream, 2.3 memory, 2.4 event, 2.5 graph
 *    3  Device and telemetry: What the device is, and how it is doing: profiles for planning, telemetry, energy.
 *       3.1 device info, 3.2 profile, 3.3 reading, 3.4 telemetry, 3.5 sampler
 *    4  activation: an activation function of one tensor, times another where there is one.
 *    5  add: the sum of two tensors.
 *    6  argmax: the index of the largest element of each row.
 *    7  attention: attention of many queries over contiguous keys and values.
 *    8  rope: rotary position embedding of queries and keys, with the append to a cache.
 *    9  attention_decode: attention of a decode step over contiguous caches, with its rotation and append where asked
 *       for.
 *   10  embedding: rows of a table by ids.
 *   11  matmul: products of up to three weights and one x, with what an engine fuses to them.
 *   12  norm: RMS norm of rows, with the sum of a residual before it.
 *   13  quantize: activations in 8 bits.
 *   14  sample: a token drawn from each row of logits.
 *   15  softcap: values kept within a bound by a hyperbolic tangent.
 *   16  weights_pack and weights_unpack: weights between the arrangement of a GGUF file and the packed one.
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

// A view of a weight matrix: the caller's memory, never owned by the library.
//
// F32, F16, BF16 and the block formats have all that belongs to them in `data`: the other tensors are absent (`data == NULL`), and
// `group_size` is 0. The other fields are the places of formats that keep scales apart from their elements. This version knows no such
// format, and refuses a weight in which one of them is set with `REFLEX_INVALID_ARGUMENT`.
typedef struct reflex_weight {
    // `[n, k]`, elements or blocks.
    struct reflex_tensor data;
    // Place of the scales of groups of elements. Absent.
    struct reflex_tensor scales;
    // Place of the zero points of groups of elements. Absent.
    struct reflex_tensor zeros;
    // Place of a scale that all elements share. Absent.
    struct reflex_tensor global_scale;
    // Place of the order of the columns, for formats that sort them. Absent.
    struct reflex_tensor order;
    // Place of the number of elements of a row that share a scale. 0.
    uint32_t group_size;
    uint32_t reserved;
} reflex_weight;

/* ---------------------------------------------------------------------------------------------------------------------
 * 1.6 size
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
 * 1.7 stream
 * Streams: their type is CUDA's.
 */

// A CUDA stream: `cudaStream_t` and `CUstream` convert without a cast. NULL is the device's default stream. Streams of
// foreign contexts (green contexts, MPS, torch) work; a stream of `reflex_stream_create` belongs to its context.
//
// On the CPU backend every call runs at once and the value only tells captures apart.
typedef struct CUstream_st *reflex_stream;

/* ---------------------------------------------------------------------------------------------------------------------
 * 1.8 build info
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
 * What the device is, and how it is doing: profiles for planning, telemetry, energy.
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
 * 3.5 sampler
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

// The function `reflex_activation` applies.
typedef uint32_t reflex_activation_kind;

// x * sigmoid(x); with `up` this is SwiGLU.
#define REFLEX_ACTIVATION_SILU 0

// GELU in its tanh form; with `up` this is GeGLU as Gemma has it.
#define REFLEX_ACTIVATION_GELU_TANH 1

// GELU by the error function.
#define REFLEX_ACTIVATION_GELU_ERF 2

// Operands of `reflex_activation`.
typedef struct reflex_activation_params {
    uint32_t struct_size;
    // `REFLEX_ACTIVATION_*`.
    reflex_activation_kind kind;
    // `[.., n]`, rank 1 to 4, F32, F16 or BF16; rows are dense, outer strides are free (halves of a merged buffer).
    struct reflex_tensor gate;
    // Optional, the shape of `gate`: multiplies the activated gate.
    struct reflex_tensor up;
    // The shape of `gate`; also ACT_I8. May be `gate` or `up` itself.
    struct reflex_tensor y;
} reflex_activation_params;

#ifndef __cplusplus
#define REFLEX_ACTIVATION_PARAMS_INIT { .struct_size = sizeof(reflex_activation_params) }
#endif

// Activation function of a gate, times an optional second operand.
//
// `y = f(gate) * up`, or `f(gate)` without `up`. SiLU: `f(x) = x / (1 + e^-x)`. GELU tanh:
// `f(x) = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`. GELU erf: `f(x) = x (1 + erf(x / sqrt 2)) / 2`.
//
// Shapes and types: see `reflex_activation_params`; every operand may have its own float type. Computed in f32, by forms
// without cancellation for negative x. A `y` in ACT_I8 is quantised
// from f32, as by `reflex_quantize` but without a launch and a pass over memory of its own.
//
// Aliasing: `y` may be exactly `gate` or `up` (in place); it shares no other byte with either, nor with itself. No workspace. Asynchronous on `stream`,
// capturable, thread-safe.
//
// Limits: rows of up to 2^30 - 1 elements, up to 2^31 - 1 of them.
//
// Infinities and NaN: f(gate) of minus infinity is 0, of infinity infinity, of NaN NaN; the product with `up` follows IEEE 754.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED`,
// `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Shazeer, "GLU Variants Improve Transformer", 2020; Hendrycks and
// Gimpel, "Gaussian Error Linear Units", 2016.
reflex_status reflex_activation(const struct reflex_context *context,
                                const struct reflex_activation_params *params,
                                reflex_stream stream);

// Whether `reflex_activation` would take these params on this context: its own validation and selection, without a launch.
reflex_status reflex_activation_supported(const struct reflex_context *context,
                                          const struct reflex_activation_params *params);

// Name of the kernel that `reflex_activation` would launch: a static string, `"cpu"` on the CPU backend, `"none"` when empty.
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
    // Multiplies `b`; finite, may be negative; 0 selects 1.
    float scale;
    // `[.., n]`, rank 1 to 4, F32, F16 or BF16; rows are dense, outer strides are free.
    struct reflex_tensor a;
    // The shape of `a`, or `[n]`: added to every row.
    struct reflex_tensor b;
    // The shape of `a`. May be `a` or `b` itself (`b` only when it has the shape of `a`).
    struct reflex_tensor y;
} reflex_add_params;

#ifndef __cplusplus
#define REFLEX_ADD_PARAMS_INIT { .struct_size = sizeof(reflex_add_params) }
#endif

// Scaled sum: a residual, or a bias on every row.
//
// `y = a + scale * b`, rounded once in f32 (fused multiply-add), then to the type of `y`.
//
// Shapes and types: see `reflex_add_params`; every operand may have its own float type.
//
// Aliasing: `y` may be exactly `a`, or exactly `b` when that has the shape of `a` (in place); it shares no
// other byte with either, nor with itself. No workspace. Asynchronous on `stream`, capturable, thread-safe.
//
// Limits: rows of up to 2^30 - 1 elements, up to 2^31 - 1 of them. Infinities and NaN follow IEEE 754; the scale may be negative.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED`,
// `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1.
reflex_status reflex_add(const struct reflex_context *context,
                         const struct reflex_add_params *params,
                         reflex_stream stream);

// Whether `reflex_add` would take these params on this context: its own validation and selection, without a launch.
reflex_status reflex_add_supported(const struct reflex_context *context, const struct reflex_add_params *params);

// Name of the kernel that `reflex_add` would launch: a static string, `"cpu"` on the CPU backend, `"none"` when empty.
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
    // 0.
    uint32_t reserved;
    // `[rows, n]`, F32, F16 or BF16, n at least 1.
    struct reflex_tensor x;
    // `[rows]`, I32: index of the greatest element of each row; the lowest index on a tie; NaN counts as less than
    // everything; 0 when a row is NaN throughout.
    struct reflex_tensor ids;
    // Optional, `[m]`, I32: every element is increased by one (2^31 - 1 becomes -2^31) once nothing else of this launch reads
    // it. Lets a captured decode step advance its own positions and lengths.
    struct reflex_tensor counters;
    // Optional scratch of `reflex_argmax_workspace_size` bytes, 256-byte aligned: with it several blocks share a long
    // row where there are few rows.
    // Nothing in it is kept from one call to the next: one as large as any of them asks for serves all calls of a stream,
    // of every op. Calls that may run at the same time need one each.
    void *workspace;
    size_t workspace_size;
} reflex_argmax_params;

#ifndef __cplusplus
#define REFLEX_ARGMAX_PARAMS_INIT { .struct_size = sizeof(reflex_argmax_params) }
#endif

// Index of the greatest element of each row.
//
// `ids[r] = min { i : x[r, i] = max_j x[r, j] }`; -0 equals 0; NaN counts as less than everything; 0 when a row is NaN
// throughout. Then `counters[i] += 1` for every i, and 2^31 - 1 becomes -2^31.
//
// Shapes and types: see `reflex_argmax_params`; `ids` and `counters` are dense. Counters advance also when there are no
// rows. What other launches read of them is ordered by the stream.
//
// Aliasing: no two of `x`, `ids`, `counters` and `workspace` share a byte. Workspace: optional; with it several blocks
// share a long row where there are few, and a second launch puts them together: faster, with the same result. Its
// contents need not be kept, and launches that may run at the same time need one each. Asynchronous on `stream`,
// capturable, thread-safe.
//
// Limits: n from 1 to 2^30 - 1, up to 2^31 - 1 rows. Infinity is the greatest, minus infinity greater than NaN alone.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_WORKSPACE_TOO_SMALL`, `REFLEX_ABI_MISMATCH`,
// `REFLEX_UNSUPPORTED`, `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1.
reflex_status reflex_argmax(const struct reflex_context *context,
                            const struct reflex_argmax_params *params,
                            reflex_stream stream);

// Bytes of scratch with which `reflex_argmax` is fastest for these params on this context; their `workspace` is not
// looked at. 0 where it would not help, and on the CPU backend.
reflex_status reflex_argmax_workspace_size(const struct reflex_context *context,
                                           const struct reflex_argmax_params *params,
                                           size_t *bytes);

// Whether `reflex_argmax` would take these params on this context: its own validation and selection, without a launch.
reflex_status reflex_argmax_supported(const struct reflex_context *context, const struct reflex_argmax_params *params);

// Name of the kernel that `reflex_argmax` would launch first: a static string, `"cpu"` on the CPU backend, `"none"` when empty.
reflex_status reflex_argmax_selected_kernel(const struct reflex_context *context,
                                            const struct reflex_argmax_params *params,
                                            const char **name);

/* =====================================================================================================================
 * 7. attention
 *
 * The op `attention`: attention of many queries over contiguous keys and values.
 */

// Which keys a query sees.
typedef uint32_t reflex_attention_mask;

// Keys up to the query's own position, aligned to the end: query i of T sees keys 0 ..= length - T + i.
#define REFLEX_ATTENTION_CAUSAL 0

// Every key of the sequence.
#define REFLEX_ATTENTION_FULL 1

// Operands of `reflex_attention`.
typedef struct reflex_attention_params {
    uint32_t struct_size;
    // `REFLEX_ATTENTION_*`.
    reflex_attention_mask mask;
    // Multiplies q k^T; finite and not negative; 0 selects 1 / sqrt(head_dim).
    float scale;
    // 0.
    uint32_t reserved;
    // `[batch, tokens, q_heads, head_dim]`, F32, F16 or BF16; head_dim is a multiple of 8, up to 256.
    struct reflex_tensor q;
    // `[batch, capacity, kv_heads, head_dim]`, F32, F16 or BF16. q_heads is a multiple of kv_heads. Dense, it is a `k_cache`
    // of `reflex_rope` with `slot = b * capacity + position`.
    struct reflex_tensor k;
    // `[batch, capacity, kv_heads, v_head_dim]`, the type of `k`; v_head_dim is a multiple of 8, up to 256.
    struct reflex_tensor v;
    // Optional, `[batch]`, I32, read on the device: keys of each sequence, the new tokens' included; a value outside
    // 0..=capacity is clamped. Absent: capacity.
    struct reflex_tensor kv_lengths;
    // `[batch, tokens, q_heads, v_head_dim]`, F32, F16 or BF16. A query that sees no key gives zeros. May be `q` itself.
    struct reflex_tensor y;
} reflex_attention_params;

#ifndef __cplusplus
#define REFLEX_ATTENTION_PARAMS_INIT { .struct_size = sizeof(reflex_attention_params) }
#endif

// Attention of many queries over a contiguous cache: prefill, and appending to what is there.
//
// `y[b][i][h] = softmax(scale * q[b][i][h] . k[b][j][h'])_j . v[b][j][h']` over the keys `j` that query `i` of `T`
// sees, with `h' = h / (q_heads / kv_heads)`. `REFLEX_ATTENTION_CAUSAL`: keys `0 ..= length - T + i`, aligned to the end
// of the sequence, so that the new tokens' keys are its last ones. `REFLEX_ATTENTION_FULL`: every key of the sequence.
//
// Shapes and types: see `reflex_attention_params`. Strides of the outer dimensions are free, rows are dense. Sums are
// f32. With K and V in F16 or BF16, 16-byte aligned and a GPU with tensor cores for the type (F16 from SM 7.5, BF16 from
// SM 8.0), q and the softmax weights are rounded to that type first: a q beyond 65504 is infinite beside an F16 cache.
// Other types and alignments are computed in f32, more slowly.
//
// A query that sees no key gives zeros. A NaN or infinity in a key or value reaches the queries that see it and no
// other; memory beyond a sequence's length is not read.
//
// Aliasing: `y` may be exactly `q` (in place); it shares no other byte with an input, nor with itself. No workspace. Asynchronous on `stream`, capturable
// (`kv_lengths` is read at each replay), thread-safe. Deterministic.
//
// Limits: head sizes as in the params; batch, capacity, heads and tokens * q_heads / kv_heads up to 2^30 each; batch * tokens *
// q_heads up to 2^31 - 1.
//
// Infinities and NaN: a score of plus infinity or NaN makes its query's y NaN, one of minus infinity has the weight 0; where
// every score is minus infinity y is 0. NaN and infinities in v reach y in their own element, those under a weight of 0 as NaN.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED` (head sizes that
// are no multiple of 8 or above 256), `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Milakov and Gimelshein, "Online
// normalizer calculation for softmax", 2018; Dao, "FlashAttention-2", 2023.
reflex_status reflex_attention(const struct reflex_context *context,
                               const struct reflex_attention_params *params,
                               reflex_stream stream);

// Whether `reflex_attention` would take these params on this context: its own validation and selection, without a launch.
reflex_status reflex_attention_supported(const struct reflex_context *context,
                                         const struct reflex_attention_params *params);

// Name of the kernel that `reflex_attention` would launch: a static string, `"cpu"` on the CPU backend, `"none"` when
// empty.
reflex_status reflex_attention_selected_kernel(const struct reflex_context *context,
                                               const struct reflex_attention_params *params,
                                               const char **name);

/* =====================================================================================================================
 * 8. rope
 *
 * The op `rope`: rotary position embedding of queries and keys, with the append to a cache.
 */

// How `reflex_rope` pairs the elements of a head.
typedef uint32_t reflex_rope_mode;

// Pairs (i, i + rotary_dim / 2): GPT-NeoX, Qwen, Hugging Face Llama.
#define REFLEX_ROPE_NEOX 0

// Pairs (2i, 2i + 1): the original Llama, GGUF files of architecture `llama`.
#define REFLEX_ROPE_INTERLEAVED 1

// Operands of `reflex_rope`.
typedef struct reflex_rope_params {
    uint32_t struct_size;
    // `REFLEX_ROPE_*`.
    reflex_rope_mode mode;
    // Base of the frequencies, finite, 1 or more; 0 selects 10000.
    float theta_base;
    // Multiplies the position (1 / factor of linear scaling); finite and not negative; 0 selects 1.
    float freq_scale;
    // Multiplies cosine and sine (YaRN's magnitude); finite and not negative; 0 selects 1.
    float magnitude;
    // Leading elements of a head of q and k that are rotated, even, at most head_dim and 1024; 0 selects all of them.
    uint32_t rotary_dim;
    // `[tokens, q_heads, head_dim]`, F32, F16 or BF16. Optional.
    struct reflex_tensor q;
    // `[tokens, kv_heads, head_dim]`. Optional.
    struct reflex_tensor k;
    // `[tokens, kv_heads, v_head_dim]`: copied to `v_cache`, not rotated. Present exactly when `v_cache` is.
    struct reflex_tensor v;
    // The shape of `q`; absent: q is rotated in place.
    struct reflex_tensor q_out;
    // The shape of `k`; absent: k is rotated in place, or with `k_cache` written there alone.
    struct reflex_tensor k_out;
    // `[tokens]`, I32, read on the device: any number, also a negative one. Required also of V alone.
    struct reflex_tensor positions;
    // Optional, `[rotary_dim / 2]`, F32: divides the frequencies (Llama 3's `rope_freqs`). A factor that is 0 or not
    // finite makes its pair NaN; any other is taken, also a negative or a subnormal one.
    struct reflex_tensor freq_factors;
    // Optional, `[slots, kv_heads, head_dim]`, F32, F16 or BF16: receives the rotated K at each token's slot. For the dense
    // `[batch, capacity, kv_heads, head_dim]` that the attention ops read, give it as `[batch * capacity, kv_heads, head_dim]`
    // and `slots` of `b * capacity + position`.
    struct reflex_tensor k_cache;
    // Optional, `[slots, kv_heads, v_head_dim]`, F32, F16 or BF16: receives V at each token's slot.
    struct reflex_tensor v_cache;
    // Optional, `[tokens]`, I32, read on the device: row of the caches for each token; absent: its position.
    // A slot outside the cache is skipped (give -1 to padding tokens).
    struct reflex_tensor slots;
    // Optional, `[head_dim]`, F32, F16 or BF16: each head of q gets an RMS norm with this weight before it is rotated.
    struct reflex_tensor q_norm;
    // Optional, `[head_dim]`: the same for k.
    struct reflex_tensor k_norm;
    // Of both norms, added to the mean square; 0 selects 1e-6. Finite and not negative.
    float norm_epsilon;
    // 0.
    uint32_t reserved;
} reflex_rope_params;

#ifndef __cplusplus
#define REFLEX_ROPE_PARAMS_INIT { .struct_size = sizeof(reflex_rope_params) }
#endif

// Rotary position embedding of q and k, with the append of K and V to a contiguous cache, in one launch. With `q_norm`
// or `k_norm` each head has an RMS norm first (Qwen3, Gemma 3), in the same launch.
//
// `h[i] = x[i] / sqrt(mean(x^2) + norm_epsilon) * norm[i]` over each head of q or k that has a norm, else `h = x`. Then
// `angle[t, i] = positions[t] * freq_scale * theta_base^(-2 i / rotary_dim) / freq_factors[i]`; each pair (u, v) of h
// becomes `(u cos - v sin, v cos + u sin) * magnitude`. Pairs: see `REFLEX_ROPE_*`. Elements of h from `rotary_dim` on
// are not rotated. Then `k_cache[slot] = rotated k`, `v_cache[slot] = v`, with `slot = slots[t]`, or
// `positions[t]` without `slots`; a slot outside the cache is skipped. Of two tokens with one slot either may remain.
//
// Shapes and types: see `reflex_rope_params`; every operand may have its own type. Operands may be views into one merged
// QKV buffer. Norm, cosine, sine and rotation are f32 without a rounding between them; outputs and caches get the f32
// value, rounded once.
//
// Which operands: any of `q`, `k` and `v`, at least one. An operand that belongs to another one is refused without it:
// `q_out` and `q_norm` without `q`; `k_out`, `k_norm` and `k_cache` without `k`; `v` and `v_cache` without each other;
// `slots` without a cache. The other fields are checked by themselves whatever is given: with `v` alone those of the
// rotation, and without a norm `norm_epsilon`, have no effect.
//
// Error: of a rotated pair (u, v) of h at most `magnitude * (|u| + |v|) * (2^-21 + 2^-50 |angle|)` before the rounding to
// the output's type, at every position, on both backends, where `magnitude` and `magnitude * (|u| + |v|)` are normal numbers of
// f32 (from 2^-126 on, and less than 2^128): cosine and sine are multiplied with the magnitude in f32, and u and v with these.
// Below, a pair may lose its last bits or all of them; above, it may be infinite or NaN. The second term is what a double's error in the frequency
// makes of the angle: it reaches the first at |angle| = 2^29, and at 2^31 it is four times as large. An angle is reduced
// exactly, however large it is: cosine and sine are finite for any position, base, scale and factor but such factors as above.
//
// Limits: heads and head sizes up to 16384, `rotary_dim` up to 1024, up to 2^31 - 1 tokens.
//
// Infinities and NaN: a head with a norm is what `reflex_norm` makes of it. An infinity makes its pair infinite or NaN, a NaN
// its pair NaN; elements that are not rotated come through as they are.
//
// Aliasing: `q_out` and `k_out` may be exactly `q` and `k` (in place); outputs and caches share no other byte with an input, with one
// another or with themselves; the caches may interleave in one allocation. Without `q_out` q is rotated in
// place, without `k_out` k is, unless `k_cache` is given: then `k` is left as it is. No workspace. Asynchronous on
// `stream`, capturable, thread-safe.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED`,
// `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Su et al., "RoFormer: Enhanced Transformer with Rotary Position
// Embedding", 2021; Peng et al., "YaRN: Efficient Context Window Extension of Large Language Models", 2023.
reflex_status reflex_rope(const struct reflex_context *context,
                          const struct reflex_rope_params *params,
                          reflex_stream stream);

// Whether `reflex_rope` would take these params on this context: its own validation and selection, without a launch.
reflex_status reflex_rope_supported(const struct reflex_context *context, const struct reflex_rope_params *params);

// Name of the kernel that `reflex_rope` would launch: a static string, `"cpu"` on the CPU backend, `"none"` when empty.
reflex_status reflex_rope_selected_kernel(const struct reflex_context *context,
                                          const struct reflex_rope_params *params,
                                          const char **name);

/* =====================================================================================================================
 * 9. attention_decode
 *
 * The op `attention_decode`: attention of a decode step over contiguous caches, with its rotation and append where
 * asked for.
 */

// Operands of `reflex_attention_decode`.
typedef struct reflex_attention_decode_params {
    uint32_t struct_size;
    // Multiplies q k^T; finite and not negative; 0 selects 1 / sqrt(head_dim).
    float scale;
    // `[batch, q_heads, head_dim]`, F32, F16 or BF16: one query a sequence, which sees every key of it; head_dim is a
    // multiple of 8, up to 256.
    struct reflex_tensor q;
    // `[batch, capacity, kv_heads, head_dim]`, F32, F16 or BF16. q_heads is a multiple of kv_heads. Dense, it is a `k_cache`
    // of `reflex_rope` with `slot = b * capacity + position`.
    struct reflex_tensor k;
    // `[batch, capacity, kv_heads, v_head_dim]`, the type of `k`; v_head_dim is a multiple of 8, up to 256.
    struct reflex_tensor v;
    // Optional, `[batch]`, I32, read on the device: keys of each sequence, the new token's included; a value outside
    // 0..=capacity is clamped. Absent: capacity.
    struct reflex_tensor kv_lengths;
    // `[batch, q_heads, v_head_dim]`, F32, F16 or BF16; may be `q` itself. Or `[batch, q_heads * v_head_dim]`, ACT_I8, with
    // v_head_dim a multiple of 32: a row holds the heads one after the other. A sequence without keys gives zeros.
    struct reflex_tensor y;
    // Scratch of `reflex_attention_decode_workspace_size` bytes, 256-byte aligned; may be NULL when that is 0.
    // The size depends on shapes alone, never on `kv_lengths`.
    // Nothing in it is kept from one call to the next: one as large as any of them asks for serves all calls of a stream,
    // of every op. Calls that may run at the same time need one each.
    void *workspace;
    size_t workspace_size;
    // Of the rotation, as in `reflex_rope_params`: `REFLEX_ROPE_*`.
    reflex_rope_mode mode;
    // Base of the frequencies, finite, 1 or more; 0 selects 10000.
    float theta_base;
    // Multiplies the position; finite and not negative; 0 selects 1.
    float freq_scale;
    // Multiplies cosine and sine; finite and not negative; 0 selects 1.
    float magnitude;
    // Leading elements of a head that are rotated, even, at most head_dim; 0 selects all of them.
    uint32_t rotary_dim;
    // Of both norms, added to the mean square; 0 selects 1e-6. Finite and not negative.
    float norm_epsilon;
    // Optional, with `v_new`: `[batch, kv_heads, head_dim]`, F32, F16 or BF16: the new token's k, written to row
    // length - 1 of the sequence in `k` after norm and rotation, and seen by the query.
    struct reflex_tensor k_new;
    // Optional, with `k_new`: `[batch, kv_heads, v_head_dim]`, F32, F16 or BF16, written to that row of `v`.
    struct reflex_tensor v_new;
    // Optional, `[batch]`, I32, read on the device: q and `k_new` are rotated. Absent: they are not.
    struct reflex_tensor positions;
    // Optional, with `positions`: `[rotary_dim / 2]`, F32: divides the frequencies.
    struct reflex_tensor freq_factors;
    // Optional, `[head_dim]`, F32, F16 or BF16: each head of q gets an RMS norm with this weight before it is rotated.
    struct reflex_tensor q_norm;
    // Optional, with `k_new`: the same for `k_new`.
    struct reflex_tensor k_norm;
} reflex_attention_decode_params;

#ifndef __cplusplus
#define REFLEX_ATTENTION_DECODE_PARAMS_INIT { .struct_size = sizeof(reflex_attention_decode_params) }
#endif

// Attention of one query per sequence over a contiguous cache: a decode step.
//
// `y[b][h] = softmax(scale * q[b][h] . k[b][j][h'])_j . v[b][j][h']` over the keys `j` of the sequence, with
// `h' = h / (q_heads / kv_heads)`.
//
// With the operands from `k_new` on it is all that lies between the QKV product of a layer and its output projection: what
// `reflex_rope` would do comes first, with `k[b][length - 1] = rope(k_new[b])` and `v[b][length - 1] = v_new[b]`, where
// length counts the new token, and `rope(q)` in the place of q. `rope(x)` is x with an RMS norm of each head, if there is a
// weight for it, and rotated, if there are positions: `reflex_rope` has the formulas. The rows of the cache get the very bits that
// `reflex_rope` gives. `q` and `k_new` stay as they are. A sequence of length 0 gets no row. An operand that belongs to another
// one is refused without it: `k_new` and `v_new` without each other, `k_norm` without `k_new`, `freq_factors` without `positions`.
// The other fields are checked by themselves whatever is given: without `positions` those of the rotation, and without a norm
// `norm_epsilon`, have no effect. Beside an aligned cache of F16
// or BF16 no launch of its own does that, if heads and norms are aligned to 16 bytes, too; else one of rope comes first, and
// a rotated q passes through the workspace in F32.
//
// The query heads of a kv head are computed together, so that each key and value is read once for all of them (for up
// to 16 of them; 8 outside the tensor core kernels). The keys of a sequence are shared among several blocks, whose
// results are put together by themselves, as a cluster (from SM 9.0 on, with 64 SMs or more), or by a second launch; how many
// depends on shapes and the device alone, so that a captured graph stays right as `kv_lengths` grows, and each takes its
// part of the length that it finds there.
//
// Shapes and types: see `reflex_attention_decode_params`. Strides of the outer dimensions are free, rows are dense. Sums
// are f32. With K and V in F16 or BF16, 16-byte aligned and a GPU with tensor cores for the type (F16 from SM 7.5, BF16
// from SM 8.0), q and the softmax weights are rounded to that type first: a q beyond 65504 is infinite beside an F16
// cache. Other types and alignments are computed in f32.
//
// A `y` in ACT_I8 is quantised from f32, as by `reflex_quantize` but without a launch of its own; its row is what a matmul
// with the output projection takes.
//
// A sequence without keys gives zeros. Memory beyond a sequence's length is not read.
//
// Aliasing: `y` may be exactly `q` (in place); it shares no other byte with another operand, nor with itself. With `k_new`
// nor do `k` and `v`; they may interleave in one allocation. Workspace: see `reflex_attention_decode_workspace_size`; it shares no
// byte with an operand, its contents need not be kept, and launches that may run at the same time need one each. Asynchronous on `stream`,
// capturable (`kv_lengths` is read at each replay), thread-safe. Deterministic.
//
// Limits: head sizes as in the params; batch, capacity and heads up to 2^30 each, heads up to 16384 with operands from `k_new`
// on; batch * q_heads up to 2^31 - 1.
//
// Infinities and NaN: a score of plus infinity or NaN makes its query's y NaN, one of minus infinity has the weight 0; where
// every score is minus infinity y is 0. NaN and infinities in v reach y in their own element, those under a weight of 0 as NaN.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_WORKSPACE_TOO_SMALL`, `REFLEX_ABI_MISMATCH`,
// `REFLEX_UNSUPPORTED` (head sizes that are no multiple of 8 or above 256), `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since
// 0.1. Dao et al., "Flash-Decoding for long-context inference", 2023.
reflex_status reflex_attention_decode(const struct reflex_context *context,
                                      const struct reflex_attention_decode_params *params,
                                      reflex_stream stream);

// Bytes of scratch that `reflex_attention_decode` needs for these params on this context, from their shapes alone; the
// workspace fields are not looked at. 0 on the CPU backend, and where the keys are not split and q is taken as it is.
reflex_status reflex_attention_decode_workspace_size(const struct reflex_context *context,
                                                     const struct reflex_attention_decode_params *params,
                                                     size_t *bytes);

// Whether `reflex_attention_decode` would take these params on this context: its own validation and selection, without
// a launch.
reflex_status reflex_attention_decode_supported(const struct reflex_context *context,
                                                const struct reflex_attention_decode_params *params);

// Name of the kernel in which `reflex_attention_decode` would meet the keys: a static string, `"cpu"` on the CPU backend,
// `"none"` when empty.
reflex_status reflex_attention_decode_selected_kernel(const struct reflex_context *context,
                                                      const struct reflex_attention_decode_params *params,
                                                      const char **name);

/* =====================================================================================================================
 * 10. embedding
 *
 * The op `embedding`: rows of a table by ids.
 */

// Operands of `reflex_embedding`.
typedef struct reflex_embedding_params {
    uint32_t struct_size;
    // Multiplies every element; finite, may be negative; 0 selects 1.
    float scale;
    // `[vocab, dim]`, any weight type, packed or not; for alignment of block formats see `reflex_embedding`.
    struct reflex_tensor table;
    // `[tokens]`, I32, read on the device. An id outside the table gives a row of NaN.
    struct reflex_tensor ids;
    // `[tokens, dim]`, F32, F16 or BF16.
    struct reflex_tensor y;
} reflex_embedding_params;

#ifndef __cplusplus
#define REFLEX_EMBEDDING_PARAMS_INIT { .struct_size = sizeof(reflex_embedding_params) }
#endif

// Rows of a table, chosen by ids.
//
// `y[t] = scale * table[ids[t]]`; an id below 0 or not below `vocab` gives a row of NaN.
//
// Shapes and types: see `reflex_embedding_params`. Block formats are expanded bit for bit as the GGUF reference does,
// multiplied by `scale` in f32, and rounded to nearest even to the type of `y`. Rows are dense; row strides are free.
//
// Alignment: elements. The data of a block format is 16-byte aligned, and its row stride a multiple of the power of two,
// up to 16, that divides a block's bytes; contiguous rows have it. A packed table (`reflex_weights_pack`)
// gives the bits of the native one. `y` shares no byte with the table, the ids or itself. No workspace. Asynchronous on `stream`,
// capturable (the ids are read when the kernel runs), thread-safe.
//
// Limits: dim up to 2^30. Infinities and NaN of the table come through, times `scale` as IEEE 754 has it.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED`,
// `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Block formats: the GGUF specification (ggml).
reflex_status reflex_embedding(const struct reflex_context *context,
                               const struct reflex_embedding_params *params,
                               reflex_stream stream);

// Whether `reflex_embedding` would take these params on this context: its own validation and selection, without a
// launch.
reflex_status reflex_embedding_supported(const struct reflex_context *context,
                                         const struct reflex_embedding_params *params);

// Name of the kernel that `reflex_embedding` would launch: a static string, `"cpu"` on the CPU backend, `"none"` when
// empty.
reflex_status reflex_embedding_selected_kernel(const struct reflex_context *context,
                                               const struct reflex_embedding_params *params,
                                               const char **name);

/* =====================================================================================================================
 * 11. matmul
 *
 * The op `matmul`: products of up to three weights and one x, with what an engine fuses to them.
 */

// A row's result does not depend, bit for bit, on how many other rows there are.
#define REFLEX_MATMUL_BATCH_INVARIANT 1

// Products of a floating-point x and block formats may be computed in 8-bit integers, of packed weights with up to 262144 rows,
// of others with at most 64: x is quantised to ACT_I8 first, once for all weights of the call. Where one weight of the call is F32,
// F16 or BF16, or one that is not packed meets more rows, no product of the call is. With `REFLEX_MATMUL_BATCH_INVARIANT` too the
// number of rows has no say: all products are, unless a weight is F32, F16 or BF16. Without the flag a floating-point x is
// multiplied with the weights' exact values. An x of ACT_I8 is multiplied in integers with or without it, 262144 rows at most of
// any block format.
#define REFLEX_MATMUL_INT8 2

// The weights were written before the launch in front of this one on the stream began, as when they are loaded once: they
// may be read while it still runs.
#define REFLEX_MATMUL_CONSTANT_WEIGHTS 4

// The two products of the call are a gated pair with one y: `y = activation(x W0^T + b0) * (x W1^T + b1) + residual`. `W0`, `b0`,
// `residual` and `y` are of `products[0]`, `W1` and `b1` of `products[1]`, which has no residual and no y.
#define REFLEX_MATMUL_GATED 8

// A weight that `reflex_matmul` multiplies x with, and what is made of the product.
typedef struct reflex_matmul_product {
    // `[n, k]`, any weight type, any n; block formats packed (`reflex_weights_pack`) or not. Data is 16-byte aligned for block
    // formats, row strides too for Q4_K and Q5_K.
    struct reflex_weight weight;
    // Optional, `[n]`, F32, F16 or BF16.
    struct reflex_tensor bias;
    // Optional, `[rows, n]`, F32, F16 or BF16: added to the product. May be `y` itself.
    struct reflex_tensor residual;
    // `[rows, n]`, F32, F16, BF16, or, of an int8 product with n a multiple of 32, ACT_I8.
    struct reflex_tensor y;
    // Reserved for mixtures of experts: which part of the weight each row of x is multiplied with. Absent: this version multiplies
    // every row with the whole weight, and refuses a product with expert ids (`REFLEX_UNSUPPORTED`).
    struct reflex_tensor expert_ids;
} reflex_matmul_product;

// Operands of `reflex_matmul`.
typedef struct reflex_matmul_params {
    uint32_t struct_size;
    // `REFLEX_MATMUL_*` bits.
    uint32_t flags;
    // `[rows, k]`, F32, F16, BF16 or ACT_I8.
    struct reflex_tensor x;
    // One or more products of x, one behind the other in memory of the host. The call reads them before it returns, and keeps no
    // pointer to them: a captured launch has a copy of its own.
    const struct reflex_matmul_product *products;
    // 1 to 3; 2 with `REFLEX_MATMUL_GATED`. `REFLEX_UNSUPPORTED` for more: a second call takes the rest.
    uint32_t product_count;
    // `sizeof(reflex_matmul_product)`: the bytes from one product to the next, by which the library knows the caller's header.
    uint32_t product_size;
    // Scratch of `reflex_matmul_workspace_size` bytes, 256-byte aligned; may be NULL when that is 0.
    // Nothing in it is kept from one call to the next: one as large as any of them asks for serves all calls of a stream,
    // of every op. Calls that may run at the same time need one each.
    void *workspace;
    size_t workspace_size;
    // Activation of the gated pair; 0 without `REFLEX_MATMUL_GATED`.
    reflex_activation_kind activation;
    uint32_t reserved;
    // Optional, `[k]`, F32, F16 or BF16: x is normalised first, as `reflex_norm` does it with this weight. Not of a ACT_I8 x.
    struct reflex_tensor norm;
    // Of the norm, added to the mean square; 0 selects 1e-6. Finite and not negative; 0 without `norm` and `x_squares`.
    float norm_epsilon;
    uint32_t reserved2;
    // Optional, `[rows, k / 32]`, F32: `x`, which is ACT_I8, is the `y_normed` of an earlier product, and these are its
    // `y_squares`.
    struct reflex_tensor x_squares;
    // Optional, `[n]` of the first product, F32, F16 or BF16: weight of the RMS norm through which a later product reads its `y`.
    // The call is int8, that n is a multiple of 32, and that `y` is the only one: there is one product, or a gated pair.
    struct reflex_tensor y_norm;
    // Present exactly when `y_norm` is: `[rows, n]`, ACT_I8.
    struct reflex_tensor y_normed;
    // Present exactly when `y_norm` is: `[rows, n / 32]`, F32.
    struct reflex_tensor y_squares;
} reflex_matmul_params;

#ifndef __cplusplus
#define REFLEX_MATMUL_PARAMS_INIT { .struct_size = sizeof(reflex_matmul_params) }
#endif

// Rows of x times the transpose of weight matrices: a linear layer, or up to three of the same x.
//
// `y[r][o] = sum_i x[r][i] * weight[o][i] + bias[o] + residual[r][o]` for each of `products`. With `norm`, x is first what
// `reflex_norm` makes of it: `x[r][i] * norm[i] / sqrt(mean(x[r]^2) + norm_epsilon)`. With `REFLEX_MATMUL_GATED`, two products
// have one y.
//
// An RMS norm between two products needs no launch of its own: the first one, with `y_norm`, also leaves
// `y_normed[r][o] = y[r][o] * y_norm[o]` and `y_squares[r][b]`, the sum of `y[r][o]^2` over the 32 outputs `o` of block `b`, both of y in
// f32 before it is rounded to its type. The second one takes them as `x` and `x_squares`, and divides the sums of
// its products by `sqrt(sum_b x_squares[r][b] / k + norm_epsilon)` before it adds bias and residual.
//
// Shapes and types: see `reflex_matmul_params` and `reflex_matmul_product`. Sums are f32. There are two ways to compute:
//
// - Exact, of a floating-point x: up to 8 rows, and any number with `REFLEX_MATMUL_BATCH_INVARIANT`, products are f32, of
//   weights expanded to f32. More rows are multiplied on tensor cores where there are any for it (SM 8.0): both factors are
//   rounded to TF32 first, each by at most 2^-11 of itself. A launch for each weight.
// - Int8, for block formats, of an x of ACT_I8 with any number of rows, packed weights or not; and with `REFLEX_MATMUL_INT8` of a
//   floating-point x, where weights are packed or there are at most 64 rows, or `REFLEX_MATMUL_BATCH_INVARIANT` is set: x is (or is
//   rounded to) 8 bits with a scale for every 32 elements, at most 1/254 of the largest of these from its value. Products
//   with one row, or with weights that are not packed, are summed in 32-bit integers for each block and are exact from
//   there on but for the f32 sums. Several rows are multiplied with packed weights as f16: both factors are rounded to
//   that, in units that their row or column has for 256 elements of k, by at most 2^-10 of themselves and 2^-24 of the
//   largest of these. One launch for all weights, whatever their formats, one before it when x has to be quantised, and one
//   for more than eight rows of packed weights, which makes x f16.
//
// `k = 0` gives what is left: the sums of the products are 0 in every mode, with `norm` and `x_squares` too, before bias,
// activation and residual.
//
// One mode holds for all products of a call. Of a floating-point x a plain weight (F32, F16, BF16) among them, or, without
// `REFLEX_MATMUL_BATCH_INVARIANT`, one that is not packed beside more than 64 rows, makes every product exact, whatever
// `REFLEX_MATMUL_INT8` allows. Of an x of ACT_I8 every product is of integers, and a plain weight is refused.
//
// `REFLEX_MATMUL_BATCH_INVARIANT`: a row's result has the same bits in a call of one row and in a call of many. With it
// `REFLEX_MATMUL_INT8` depends on the types of the weights alone.
//
// Alignment: elements, and 16 bytes for the data of a block format, for Q4_K and Q5_K for its row stride too. Rows of x
// and of plain weights that are 16-byte aligned, with k a multiple of 8, are read faster. Rows are dense; row strides are
// free. Packed weights are the faster ones in int8, and in exact products cost an unpacking.
//
// Aliasing: a `y` may be exactly the `residual` of its own product (in place); neither it nor `y_normed` and `y_squares` share
// another byte with any operand or with themselves. Workspace: see `reflex_matmul_workspace_size`; it shares no byte with an
// operand. Asynchronous on `stream`, capturable, thread-safe.
//
// Limits: rows, n and k up to 2^30; exact products `rows * ((n + 7) / 8)` up to 2^31 - 1, int8 ones up to 2^18 rows.
//
// Infinities and NaN: a NaN in a row of x makes that row of y NaN. Exact products follow IEEE 754: infinity times a weight of
// 0 is NaN, a sum beyond f32 infinite. In int8 an infinity in a row of x makes all of that row of y infinite or NaN. With
// `norm` a row is what `reflex_norm` makes of it. A y beyond its type is infinite.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_WORKSPACE_TOO_SMALL`, `REFLEX_ABI_MISMATCH`,
// `REFLEX_UNSUPPORTED`, `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Block formats: the GGUF specification (ggml).
reflex_status reflex_matmul(const struct reflex_context *context,
                            const struct reflex_matmul_params *params,
                            reflex_stream stream);

// Bytes of scratch that `reflex_matmul` needs for these params on this context; the workspace fields are not looked at.
reflex_status reflex_matmul_workspace_size(const struct reflex_context *context,
                                           const struct reflex_matmul_params *params,
                                           size_t *bytes);

// Whether `reflex_matmul` would take these params on this context: its own validation and selection, without a launch.
reflex_status reflex_matmul_supported(const struct reflex_context *context, const struct reflex_matmul_params *params);

// Name of the kernel that `reflex_matmul` would launch: a static string, `"cpu"` on the CPU backend, `"none"` when empty.
reflex_status reflex_matmul_selected_kernel(const struct reflex_context *context,
                                            const struct reflex_matmul_params *params,
                                            const char **name);

/* =====================================================================================================================
 * 12. norm
 *
 * The op `norm`: RMS norm of rows, with the sum of a residual before it.
 */

// Operands of `reflex_norm`.
typedef struct reflex_norm_params {
    uint32_t struct_size;
    // Added to the mean square; 0 selects 1e-6. Finite and not negative.
    float epsilon;
    // `[.., dim]`, rank 1 to 4, F32, F16 or BF16; rows are dense, outer strides are free.
    struct reflex_tensor x;
    // Optional, the shape of `x`: added to it before the norm.
    struct reflex_tensor residual;
    // Optional, the shape of `x`: receives x + residual. May be `x` or `residual` itself.
    struct reflex_tensor residual_out;
    // Optional, `[dim]`.
    struct reflex_tensor weight;
    // The shape of `x`; also ACT_I8. May be `x` or `residual` itself.
    struct reflex_tensor y;
} reflex_norm_params;

#ifndef __cplusplus
#define REFLEX_NORM_PARAMS_INIT { .struct_size = sizeof(reflex_norm_params) }
#endif

// RMS norm of rows, with an optional residual sum before it.
//
// `h = x + residual; residual_out = h; y[i] = h[i] / sqrt(mean(h^2) + epsilon) * weight[i]`, over the last dimension.
//
// Shapes and types: see `reflex_norm_params`; every operand may have its own float type. The sum, the mean and the
// scale are f32, from h before it is rounded to `residual_out`. A `y` in ACT_I8 is quantised from f32, as by
// `reflex_quantize` but without a launch and a pass over memory of its own. Per-head q/k norm: give `x` as
// `[tokens, heads, head_dim]` with the buffer's strides.
//
// Aliasing: `y` and `residual_out` may each be exactly `x` or `residual` (in place); they share no other byte with an input, with
// one another or with themselves. No workspace. Asynchronous on `stream`, capturable, thread-safe.
//
// Limits: rows of up to 2^30 - 1 elements, up to 2^31 - 1 of them.
//
// Infinities and NaN: a NaN in a row of h makes that row of y NaN; infinities become NaN and the other elements of their row
// 0. A row whose squares sum up to more than f32 holds, as one with an element beyond 1.8e19 does, becomes 0 throughout.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED`,
// `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.
reflex_status reflex_norm(const struct reflex_context *context,
                          const struct reflex_norm_params *params,
                          reflex_stream stream);

// Whether `reflex_norm` would take these params on this context: its own validation and selection, without a launch.
reflex_status reflex_norm_supported(const struct reflex_context *context, const struct reflex_norm_params *params);

// Name of the kernel that `reflex_norm` would launch: a static string, `"cpu"` on the CPU backend, `"none"` when empty.
reflex_status reflex_norm_selected_kernel(const struct reflex_context *context,
                                          const struct reflex_norm_params *params,
                                          const char **name);

/* =====================================================================================================================
 * 13. quantize
 *
 * The op `quantize`: activations in 8 bits.
 */

// Operands of `reflex_quantize`.
typedef struct reflex_quantize_params {
    uint32_t struct_size;
    // 0.
    uint32_t reserved;
    // `[.., k]`, rank 1 to 4, F32, F16 or BF16; rows are dense, outer strides are free. k is a multiple of 32.
    struct reflex_tensor x;
    // The shape of `x`, ACT_I8; outer strides are multiples of 16.
    struct reflex_tensor y;
} reflex_quantize_params;

#ifndef __cplusplus
#define REFLEX_QUANTIZE_PARAMS_INIT { .struct_size = sizeof(reflex_quantize_params) }
#endif

// Quantises activations to 8 bits, once for all the matmuls that read them.
//
// Of each 32 elements of a row, with `a = max |x|`: `d = a / 127`, `q = round(x * (127 / a))`, ties to even, in f32;
// `y = d * q`. The layout of y and what NaN, infinities and tiny numbers give: see `REFLEX_DTYPE_ACT_I8`.
//
// Shapes and types: see `reflex_quantize_params`. The bits are the same on every backend and for every alignment of x.
// `reflex_norm`, `reflex_activation` and `reflex_attention_decode` write ACT_I8 themselves, which saves this launch.
//
// Aliasing: `y` shares no byte with `x`, nor with itself. No workspace. Asynchronous on `stream`, capturable, thread-safe.
//
// Limits: rows of up to 2^30 - 1 elements, up to 2^31 - 1 of them.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED`,
// `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Jacob et al., "Quantization and Training of Neural Networks for
// Efficient Integer-Arithmetic-Only Inference", 2018.
reflex_status reflex_quantize(const struct reflex_context *context,
                              const struct reflex_quantize_params *params,
                              reflex_stream stream);

// Whether `reflex_quantize` would take these params on this context: its own validation and selection, without a launch.
reflex_status reflex_quantize_supported(const struct reflex_context *context,
                                        const struct reflex_quantize_params *params);

// Name of the kernel that `reflex_quantize` would launch: a static string, `"cpu"` on the CPU backend, `"none"` when empty.
reflex_status reflex_quantize_selected_kernel(const struct reflex_context *context,
                                              const struct reflex_quantize_params *params,
                                              const char **name);

/* =====================================================================================================================
 * 14. sample
 *
 * The op `sample`: a token drawn from each row of logits.
 */

// Operands of `reflex_sample`. The numbers of all rows are fields; an operand with numbers for each row takes their place.
// What such an operand holds is read on the device, at each replay of a captured graph, and cannot be refused: what is
// outside of the range of the field is clamped to it, and a NaN counts as 0.
typedef struct reflex_sample_params {
    uint32_t struct_size;
    // Divides the logits that survive the filters, finite, not negative; 0 takes the greatest logit and draws nothing.
    float temperature;
    // Keeps this many greatest logits; 0 keeps all. On a tie the lower index is kept.
    uint32_t top_k;
    // Keeps the smallest set of most probable tokens whose probability reaches this, 0 to 1; 0 or 1 keeps all.
    float top_p;
    // Keeps tokens with at least this fraction of the greatest probability, 0 to 1; 0 keeps all.
    float min_p;
    // 0.
    uint32_t reserved;
    // Key of the random numbers.
    uint64_t seed;
    // `[rows, n]`, F32, F16 or BF16, n at least 1. NaN counts as minus infinity.
    struct reflex_tensor logits;
    // Optional, `[rows]`, I32, read on the device: the random number of a row depends on seed, row and this (give the
    // position, so that every step of a replayed graph draws anew). Absent: 0.
    struct reflex_tensor steps;
    // `[rows]`, I32: the drawn token of each row.
    struct reflex_tensor ids;
    // Optional, `[m]`, I32, dense, any m: every element is increased by one (2^31 - 1 becomes -2^31) once the draw is done.
    // They need not belong to rows: a decode step has its positions and lengths there. May begin with `steps`.
    struct reflex_tensor counters;
    // Scratch of `reflex_sample_workspace_size` bytes, 256-byte aligned; may be NULL when that is 0.
    // Nothing in it is kept from one call to the next: one as large as any of them asks for serves all calls of a stream,
    // of every op. Calls that may run at the same time need one each.
    void *workspace;
    size_t workspace_size;
    // Optional, `[rows, 2]`, I32, dense: each row's seed, its lower 32 bits first (an array of `uint64_t` is one).
    struct reflex_tensor seeds;
    // Optional, `[rows]`, F32: each row's temperature.
    struct reflex_tensor temperatures;
    // Optional, `[rows]`, I32: each row's top_k; a negative one keeps all, as 0 does.
    struct reflex_tensor top_ks;
    // Optional, `[rows]`, F32: each row's top_p.
    struct reflex_tensor top_ps;
    // Optional, `[rows]`, F32: each row's min_p.
    struct reflex_tensor min_ps;
    // Optional, `[rows]`, I32, taken as unsigned: stands in the place of the row's number in its random number, so that a
    // request draws the same tokens in whatever row of whatever batch it is. Rows of the same key, seed and step draw the
    // same random number.
    struct reflex_tensor row_keys;
} reflex_sample_params;

#ifndef __cplusplus
#define REFLEX_SAMPLE_PARAMS_INIT { .struct_size = sizeof(reflex_sample_params) }
#endif

// Draws a token from each row of logits.
//
// In this order: NaN becomes minus infinity; `top_k` keeps that many greatest logits; `top_p` keeps the smallest set of
// most probable tokens whose probability, under the softmax of what is left, reaches it; `min_p` keeps tokens with at
// least that fraction of the greatest probability; the logits left are divided by `temperature`, and one token is drawn
// from their softmax. Of equal logits the one of lower index counts as greater. Every filter keeps at least one token.
// Temperature 0 takes the greatest logit. With infinite logits these alone are candidates, all equally probable; a row
// without any logit above minus infinity gives 0.
//
// Exactly: a probability is the integer `e^(logit - greatest)` in units of 2^-32 (0 below 2^-34), sums are exact, and the
// draw is `floor(r * sum / 2^64)` against the running sum in index order: the token is the first whose running sum, its
// own weight included, is greater. The same params give the same tokens on every run, device and backend.
//
// The random number: r is `x1 * 2^32 + x0`, of the four words x0 to x3 that Philox4x32-10 gives for the key (the seed's
// lower 32 bits, its upper 32 bits) and the counter (the row's number or its `row_keys`, 0, `steps` as unsigned, 0). So
// `row_keys` 0, 1, 2, .. are the row numbers. A row's draw depends on its own logits, settings, key and step alone, never
// on its row or on the other rows where there are row_keys.
//
// Of a row's own settings, which nobody checked before: a temperature that is negative or NaN counts as 0, an infinite one
// as the greatest number; a negative top_k counts as 0; top_p and min_p below 0 or NaN count as 0, above 1 as 1.
//
// Then `counters[i] += 1` for every i, and 2^31 - 1 becomes -2^31.
//
// Shapes and types: see `reflex_sample_params`; all operands but `logits` are dense. Counters advance also when there are
// no rows.
//
// Aliasing: `counters` may begin with `steps`, of which this launch sees the old values; `ids` and `counters` share no other byte
// with an input, with one another or with themselves. Workspace: none at present; ask `reflex_sample_workspace_size`; one that is
// given shares no byte with an operand. Asynchronous on `stream`, capturable, thread-safe.
//
// Limits: n from 1 to 2^30 - 1, up to 2^31 - 1 rows.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_ABI_MISMATCH`, `REFLEX_UNSUPPORTED`,
// `REFLEX_WORKSPACE_TOO_SMALL`, `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Holtzman et al., "The Curious Case of
// Neural Text Degeneration", 2019; Nguyen et al., "Turning Up the Heat: Min-p Sampling", 2024; Salmon et al., "Parallel
// Random Numbers: As Easy as 1, 2, 3", 2011.
reflex_status reflex_sample(const struct reflex_context *context,
                            const struct reflex_sample_params *params,
                            reflex_stream stream);

// Whether `reflex_sample` would take these params on this context: its own validation and selection, without a launch.
reflex_status reflex_sample_supported(const struct reflex_context *context, const struct reflex_sample_params *params);

// Bytes of scratch that `reflex_sample` needs for these params on this context; their `workspace` is not looked at.
reflex_status reflex_sample_workspace_size(const struct reflex_context *context,
                                           const struct reflex_sample_params *params,
                                           size_t *bytes);

// Name of the kernel that `reflex_sample` would launch: a static string, `"cpu"` on the CPU backend, `"none"` when empty.
reflex_status reflex_sample_selected_kernel(const struct reflex_context *context,
                                            const struct reflex_sample_params *params,
                                            const char **name);

/* =====================================================================================================================
 * 15. softcap
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
 * 16. weights_pack
 *
 * The ops `weights_pack` and `weights_unpack`: weights between the arrangement of a GGUF file and the packed one.
 */

// Operands of `reflex_weights_pack`.
typedef struct reflex_weights_pack_params {
    uint32_t struct_size;
    // 0.
    uint32_t reserved;
    // `[n, k]`, a block format; row strides are free.
    struct reflex_tensor source;
    // `[n, k]`, the format of `source` with `REFLEX_DTYPE_PACKED`; dense, data 16-byte aligned. In place: the data of
    // `source`, when that is dense.
    struct reflex_tensor destination;
    // Scratch of `reflex_weights_pack_workspace_size` bytes, 256-byte aligned; may be NULL when that is 0.
    // Nothing in it is kept from one call to the next: one as large as any of them asks for serves all calls of a stream,
    // of every op. Calls that may run at the same time need one each.
    void *workspace;
    size_t workspace_size;
} reflex_weights_pack_params;

#ifndef __cplusplus
#define REFLEX_WEIGHTS_PACK_PARAMS_INIT { .struct_size = sizeof(reflex_weights_pack_params) }
#endif

// Operands of `reflex_weights_unpack`.
typedef struct reflex_weights_unpack_params {
    uint32_t struct_size;
    // 0.
    uint32_t reserved;
    // `[n, k]`, a block format with `REFLEX_DTYPE_PACKED`; dense, data 16-byte aligned.
    struct reflex_tensor source;
    // `[n, k]`, the format of `source` without `REFLEX_DTYPE_PACKED`; row strides are free. In place: the data of
    // `source`, dense.
    struct reflex_tensor destination;
    // Scratch of `reflex_weights_unpack_workspace_size` bytes, 256-byte aligned; may be NULL when that is 0.
    // Nothing in it is kept from one call to the next: one as large as any of them asks for serves all calls of a stream,
    // of every op. Calls that may run at the same time need one each.
    void *workspace;
    size_t workspace_size;
} reflex_weights_unpack_params;

#ifndef __cplusplus
#define REFLEX_WEIGHTS_UNPACK_PARAMS_INIT { .struct_size = sizeof(reflex_weights_unpack_params) }
#endif

// Bytes of a packed `[n, k]` matrix, which are those of the native one; `dtype` with or without `REFLEX_DTYPE_PACKED`.
//
// Statuses: `REFLEX_INVALID_ARGUMENT` for a type that is not a GGUF block format, negative sizes, a `k` that is not a
// multiple of the block, and more bytes than 64 bits count; `REFLEX_MISALIGNED`. Thread-safe. Since 0.1.
reflex_status reflex_weights_packed_size(reflex_dtype dtype, int64_t n, int64_t k, uint64_t *bytes);

// Arranges the blocks of a weight matrix as matrix products read them fastest. Done once, when a model is loaded.
//
// The bits are those of `source`, each exactly once, in the order of docs/packed-weights.md: panels of 16 rows, cut into
// tiles of 256 columns. Sizes do not change; `reflex_weights_unpack` gives the native matrix back bit for bit. Packed
// weights are what `reflex_matmul` and `reflex_embedding` take in place of native ones; no other op does.
//
// Shapes and types: see `reflex_weights_pack_params`. Alignment: 16 bytes for packed data, the block's own (2, MXFP4 1)
// for native data and its row stride.
//
// Aliasing: `destination.data` may be `source.data` when `source` is dense (in place, through the workspace); they
// share no byte otherwise. Workspace: see `reflex_weights_pack_workspace_size`; it shares no byte with either. Asynchronous on `stream`,
// capturable, thread-safe; in place, several launches that must not run at the same time as what reads the weights.
//
// Limits: n and k up to 2^30.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_WORKSPACE_TOO_SMALL`, `REFLEX_ABI_MISMATCH`,
// `REFLEX_UNSUPPORTED`, `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Block formats: the GGUF specification (ggml).
reflex_status reflex_weights_pack(const struct reflex_context *context,
                                  const struct reflex_weights_pack_params *params,
                                  reflex_stream stream);

// Bytes of scratch that `reflex_weights_pack` needs for these params on this context: 0 when the data pointers differ, at
// most about 16 MiB (or one panel of 16 rows) when they are the same. The workspace fields are not looked at.
reflex_status reflex_weights_pack_workspace_size(const struct reflex_context *context,
                                                 const struct reflex_weights_pack_params *params,
                                                 size_t *bytes);

// Whether `reflex_weights_pack` would take these params on this context: its own validation and selection, without a
// launch.
reflex_status reflex_weights_pack_supported(const struct reflex_context *context,
                                            const struct reflex_weights_pack_params *params);

// Name of the kernel that `reflex_weights_pack` would launch: a static string, `"cpu"` on the CPU backend, `"none"` when
// there is nothing to move.
reflex_status reflex_weights_pack_selected_kernel(const struct reflex_context *context,
                                                  const struct reflex_weights_pack_params *params,
                                                  const char **name);

// The native matrix that `reflex_weights_pack` was given, bit for bit.
//
// Shapes and types: see `reflex_weights_unpack_params`. Alignment: 16 bytes for packed data, the block's own (2, MXFP4 1)
// for native data and its row stride. Bytes between the rows of `destination` are not written.
//
// Aliasing: `destination.data` may be `source.data` when `destination` is dense (in place, through the workspace);
// they share no byte otherwise, nor does `destination` with itself. Workspace: see `reflex_weights_unpack_workspace_size`; it shares no
// byte with either. Asynchronous on
// `stream`, capturable, thread-safe.
//
// Limits: n and k up to 2^30.
//
// Statuses: `REFLEX_INVALID_ARGUMENT`, `REFLEX_MISALIGNED`, `REFLEX_WORKSPACE_TOO_SMALL`, `REFLEX_ABI_MISMATCH`,
// `REFLEX_UNSUPPORTED`, `REFLEX_CUDA_ERROR`. SM 7.5 or later. Since 0.1. Block formats: the GGUF specification (ggml).
reflex_status reflex_weights_unpack(const struct reflex_context *context,
                                    const struct reflex_weights_unpack_params *params,
                                    reflex_stream stream);

// Bytes of scratch that `reflex_weights_unpack` needs for these params on this context, as
// `reflex_weights_pack_workspace_size` says it of packing.
reflex_status reflex_weights_unpack_workspace_size(const struct reflex_context *context,
                                                   const struct reflex_weights_unpack_params *params,
                                                   size_t *bytes);

// Whether `reflex_weights_unpack` would take these params on this context: its own validation and selection, without a
// launch.
reflex_status reflex_weights_unpack_supported(const struct reflex_context *context,
                                              const struct reflex_weights_unpack_params *params);

// Name of the kernel that `reflex_weights_unpack` would launch: a static string, `"cpu"` on the CPU backend, `"none"` when
// there is nothing to move.
reflex_status reflex_weights_unpack_selected_kernel(const struct reflex_context *context,
                                                    const struct reflex_weights_unpack_params *params,
                                                    const char **name);

#ifdef __cplusplus
}  // extern "C"
#endif

#endif  /* REFLEX_INFER_H */
