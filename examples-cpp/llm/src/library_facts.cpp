#include "library_facts.h"

namespace llm {

uint64_t act_i8_row_bytes(uint64_t width) {
    const uint64_t bytes = reflex::row_bytes(REFLEX_DTYPE_ACT_I8, static_cast<int64_t>(width));
    return (bytes + act_i8_alignment - 1) / act_i8_alignment * act_i8_alignment;
}

uint32_t native_int8_rows(const device &owner) {
    // reflex_matmul writes ACT_I8 for products of integers alone, and refuses it where the number of rows makes them exact.
    const auto in_integers = [&owner](int64_t rows) {
        constexpr int64_t width = 64;
        const auto *any = reinterpret_cast<const uint8_t *>(placeholder_base);
        reflex::matmul_params p;
        p.flags = REFLEX_MATMUL_INT8;
        p.x = reflex::tensor(any, REFLEX_DTYPE_F32, {rows, width});
        reflex::matmul_product product[1];
        product->weight = reflex::weight(reflex::tensor(any + placeholder_base, REFLEX_DTYPE_Q8_0, {width, width}));
        product->y = reflex::tensor(any + 2 * placeholder_base, REFLEX_DTYPE_ACT_I8, {rows, width});
        reflex::set_products(p, product);
        return reflex_matmul_supported(owner.context(), &p) == REFLEX_SUCCESS;
    };
    // One row is the fewest, and no op takes as many rows as `refused`.
    int64_t taken = 0, refused = int64_t{1} << 31;
    while (refused - taken > 1) {
        const int64_t rows = (taken + refused) / 2;
        (in_integers(rows) ? taken : refused) = rows;
    }
    return static_cast<uint32_t>(taken);
}

}  // namespace llm
