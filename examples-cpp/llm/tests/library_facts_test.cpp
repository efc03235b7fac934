// What the engine takes the library to want, against what the library says. Runs on the CPU backend.
#include "library_facts.h"
#include "check.h"

namespace {

constexpr uintptr_t weight_at = 2 * llm::placeholder_base, y_at = 3 * llm::placeholder_base;

reflex_tensor at(uintptr_t address, reflex_dtype dtype, int64_t rows, int64_t width) {
    return reflex::tensor(reinterpret_cast<const void *>(address), dtype, {rows, width});
}

reflex_status asked(const llm::device &cpu, const reflex_tensor &weight, const reflex_tensor &y) {
    reflex::matmul_params p;
    p.flags = REFLEX_MATMUL_INT8;
    p.x = at(llm::placeholder_base, REFLEX_DTYPE_F32, y.shape[0], weight.shape[1]);
    reflex::matmul_product product[1];
    product->weight = reflex::weight(weight);
    product->y = y;
    reflex::set_products(p, product);
    return reflex_matmul_supported(cpu.context(), &p);
}

void rows_of_integers(const llm::device &cpu) {
    // infer.h: "of packed weights with up to 262144 rows, of others with at most 64".
    CHECK(llm::native_int8_rows(cpu) == 64);
    const reflex_tensor weight = at(weight_at, REFLEX_DTYPE_Q4_K, 64, 256);
    CHECK(asked(cpu, weight, at(y_at, REFLEX_DTYPE_ACT_I8, 64, 64)) == REFLEX_SUCCESS);
    CHECK(asked(cpu, weight, at(y_at, REFLEX_DTYPE_ACT_I8, 65, 64)) != REFLEX_SUCCESS);
}

void alignments(const llm::device &cpu) {
    const reflex_tensor y = at(y_at, REFLEX_DTYPE_F32, 1, 64);
    const auto weight = [&](uintptr_t shift) {
        return asked(cpu, at(weight_at + shift, REFLEX_DTYPE_Q8_0, 64, 64), y);
    };
    CHECK(weight(llm::weight_alignment) == REFLEX_SUCCESS && weight(llm::weight_alignment / 2) == REFLEX_MISALIGNED);

    const reflex_tensor q8 = at(weight_at, REFLEX_DTYPE_Q8_0, 64, 64);
    const auto rows = [&](uint64_t stride) {
        reflex_tensor quantised = at(y_at, REFLEX_DTYPE_ACT_I8, 2, 64);
        quantised.stride[0] = static_cast<int64_t>(stride);
        quantised.stride[1] = reflex_dtype_block_bytes(REFLEX_DTYPE_ACT_I8);
        return asked(cpu, q8, quantised);
    };
    const uint64_t bytes = llm::act_i8_row_bytes(64);
    CHECK(rows(bytes) == REFLEX_SUCCESS && rows(bytes + llm::act_i8_alignment) == REFLEX_SUCCESS);
    CHECK(rows(bytes + llm::act_i8_alignment / 2) == REFLEX_MISALIGNED);
}

void blocks() {
    CHECK(llm::act_i8_block_elements() == 32);
    CHECK(llm::act_i8_row_bytes(0) == 0 && llm::act_i8_row_bytes(96) == 128);
}

}  // namespace

int main() {
    const llm::device cpu(REFLEX_BACKEND_CPU, 0, 1);
    rows_of_integers(cpu);
    alignments(cpu);
    blocks();
    return test::summary();
}
