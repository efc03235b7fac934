// Weight formats: one traits type each in reflex::weight, plain types and GGUF blocks, all read as they lie in a file.
//
// Each type reads a weight row in two ways:
//   piece  eight elements from a multiple of eight. `load8(row, i, k, vec)` keeps the bytes, `exact8(piece, i, w)` expands
//          them bit for bit as the format's reference does: every product and difference is rounded to f32.
//   chunk  what one lane of a matrix-vector product takes at a time: CHUNK elements in PIECES runs of eight.
//          `load` keeps the bytes, `element` says where a run lies in the row, `weights` expands one run with one fused
//          multiply-add per element (within 4 units in the last place of the format's largest partial value).
//
// A block format (BLOCKS) is one small type made of these and its constants; block_format (format.cuh) makes the rest.
// It gives the integers that a block consists of: w = scale * (q - OFFSET) - minimum.
//   at(block, i)                         the piece of element i of a block, which load8 finds.
//   quants8(piece, i, q0, q1)            q of the eight elements from i, a byte each: signed where SIGNED, else below
//                                        2^BITS. For formats with a table, what the table gives.
//   scale8(piece, i, scale, minimum)     what GROUP elements have in common; minimum is 0 unless MINIMUM.
// Its `staged` type says how one row of x in int8 reads 256 elements of a row in shared memory (staged.cuh).
// A piece's bytes hold the quants of several runs in most formats: these are the pieces of a chunk, and quants8 and scale8
// take any of them by its i.
//
// Alignment of what is loaded: data is 16-byte aligned, and rows begin at multiples of the power of two, up to 16, that
// divides a block's bytes. Nothing outside the tensor is read.
#pragma once

#include "common/blocks/k_quants.cuh"
#include "common/blocks/plain.cuh"
#include "common/blocks/small.cuh"
#include "common/blocks/tables.cuh"

namespace reflex::weight {

#define REFLEX_AGREES(NAME, name, ggml, elements, bytes, bits, group, ...)                    \
    static_assert(name::ELEMENTS == elements && name::BYTES == bytes && name::GROUP == group, \
                  "formats.def has others");                                                  \
    static_assert(name::SIGNED || name::BITS == bits, "formats.def has others");
REFLEX_BLOCK_FORMATS(REFLEX_AGREES)
#undef REFLEX_AGREES

}  // namespace reflex::weight
