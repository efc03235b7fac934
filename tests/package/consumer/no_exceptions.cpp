// What a user who compiles without exceptions writes: one RMS norm on the CPU backend, captured and replayed, compared
// with the formula. Statuses are returned; nothing throws and nothing ends the program.
#include <cmath>
#include <cstdio>
#include <reflex/infer.hpp>
#if REFLEX_HAS_EXCEPTIONS
#error "this file is for compilers that are told -fno-exceptions"
#endif

namespace {

bool failed(reflex_status status, const char *what) {
    if (status == REFLEX_SUCCESS) return false;
    std::printf("%s: %s: %s\n", what, reflex_status_string(status), reflex_last_error_message());
    return true;
}

bool refused(reflex_status status, const char *what) {
    if (status == REFLEX_INVALID_ARGUMENT && reflex_last_error_message()[0] != '\0') return true;
    std::printf("%s is accepted\n", what);
    return false;
}

}  // namespace

int main() {
    constexpr int rows = 2, dim = 8;
    reflex::context_params options;
    options.backend = REFLEX_BACKEND_CPU;
    reflex::context context(nullptr);
    reflex::stream stream(nullptr);
    reflex::device_buffer memory;
    if (failed(reflex::context::create(&options, context), "context")) return 1;
    if (failed(reflex::stream::create(context, stream), "stream")) return 1;
    if (failed(reflex::device_buffer::create(context, 2 * sizeof(float) * rows * dim, memory), "memory")) return 1;

    float *const x = static_cast<float *>(memory.get()), *const y = x + rows * dim;
    for (int i = 0; i < rows * dim; ++i) x[i] = static_cast<float>(i % 5 - 2) * 0.25f;
    reflex::norm_params params;
    params.epsilon = 1e-5f;
    params.x = reflex::tensor(x, REFLEX_DTYPE_F32, {rows, dim});
    params.y = reflex::tensor(y, REFLEX_DTYPE_F32, {rows, dim}, {dim * 4, 4});
    reflex::graph graph;
    const auto launch = [&] { return reflex_norm(context.get(), &params, stream.get()); };
    if (failed(reflex::capture(context, stream.get(), graph, launch), "capture")) return 1;
    if (failed(reflex_graph_launch(context.get(), graph.get(), stream.get()), "replay")) return 1;
    if (failed(reflex_stream_synchronize(context.get(), stream.get()), "wait")) return 1;

    for (int row = 0; row < rows; ++row) {
        double sum = 0;
        for (int i = 0; i < dim; ++i) sum += double{x[row * dim + i]} * double{x[row * dim + i]};
        for (int i = 0; i < dim; ++i) {
            const double expected = double{x[row * dim + i]} / std::sqrt(sum / dim + 1e-5);
            if (!(std::fabs(double{y[row * dim + i]} - expected) < 1e-5)) {
                std::printf("y[%d][%d] is %g, expected %g\n", row, i, double{y[row * dim + i]}, expected);
                return 1;
            }
        }
    }

    // Wrong calls have to say so: a bad operand, a tensor of no rank, strides of another number, a body that fails.
    reflex::norm_params wrong = params;
    wrong.epsilon = -1.0f;
    const auto fails = [&] { return reflex_norm(context.get(), &wrong, stream.get()); };
    reflex_graph *const before = graph.get();
    if (!refused(fails(), "a negative epsilon")) return 1;
    if (!refused(reflex::capture(context, stream.get(), graph, fails), "a capture of that")) return 1;
    if (graph.get() != before) return 1;
    wrong = params;
    wrong.x = reflex::tensor(x, REFLEX_DTYPE_F32, {1, 1, 1, rows, dim});
    if (!refused(fails(), "a tensor of rank 5")) return 1;
    wrong.x = reflex::tensor(x, REFLEX_DTYPE_F32, {rows, dim}, {4});
    if (!refused(fails(), "a tensor with one stride for two dimensions")) return 1;
    options.device = -1;
    options.cpu_threads = 5000;
    reflex::context other(nullptr);
    if (!refused(reflex::context::create(&options, other), "a context of 5000 threads") || other) return 1;

    std::printf("reflex-infer %s: norm agrees\n", reflex_get_build_info().version);
    return 0;
}
