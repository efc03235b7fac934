// How a run computes, and where the weights lie that it reads.
#pragma once

namespace llm {

// int8: what a matmul reads is rounded to 8 bits, with a scale for every 32 elements, wherever the weights are of a block format and
// there are few rows. exact: activations stay f32 and every weight has its exact value.
enum class compute_mode { int8, exact };

// mapped: in the file, where it is mapped. copied: as the file has them, in the device's own memory. packed: in the device's own memory,
// arranged for matmuls. automatic: the fastest that costs no second copy where host and device share their memory.
enum class weight_placement { automatic, packed, copied, mapped };

}  // namespace llm
