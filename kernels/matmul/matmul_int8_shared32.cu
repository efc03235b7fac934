#include "matmul/int8/shared/product.cuh"

// Four blocks of four warps on an SM, where panels are many.
extern "C" __global__ void __maxnreg__(128) reflex_matmul_int8_shared32(const __grid_constant__ reflex::int8_args a) {
    reflex::int8_shared_product<4>(a);
}
