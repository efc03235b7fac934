// What a user of the installed package writes: one RMS norm on the CPU backend, compared with the formula.
#include <cmath>
#include <cstdio>
#include <reflex/infer.hpp>

int main() try {
    constexpr int rows = 2, dim = 8;
    float x[rows][dim], y[rows][dim];
    for (int i = 0; i < rows * dim; ++i) x[i / dim][i % dim] = static_cast<float>(i % 5 - 2) * 0.25f;

    reflex::context_params options;
    options.backend = REFLEX_BACKEND_CPU;
    const reflex::context context(options);
    const reflex::stream stream(context);

    reflex::norm_params params;
    params.epsilon = 1e-5f;
    params.x = reflex::tensor(x, REFLEX_DTYPE_F32, {rows, dim});
    params.y = reflex::tensor(y, REFLEX_DTYPE_F32, {rows, dim});
    reflex::check(reflex_norm(context.get(), &params, stream.get()));
    stream.synchronize();

    for (int row = 0; row < rows; ++row) {
        double sum = 0;
        for (double value : x[row]) sum += value * value;
        for (int i = 0; i < dim; ++i) {
            const double expected = x[row][i] / std::sqrt(sum / dim + 1e-5);
            if (!(std::fabs(y[row][i] - expected) < 1e-5)) {
                std::printf("y[%d][%d] is %g, expected %g\n", row, i, static_cast<double>(y[row][i]), expected);
                return 1;
            }
        }
    }

    // A wrong call has to say so, through the same library.
    params.epsilon = -1.0f;
    try {
        reflex::check(reflex_norm(context.get(), &params, stream.get()));
        std::printf("a negative epsilon is accepted\n");
        return 1;
    } catch (const reflex::error &error) {
        if (error.status() != REFLEX_INVALID_ARGUMENT) throw;
    }
    std::printf("reflex-infer %s: norm agrees\n", reflex_get_build_info().version);
    return 0;
} catch (const std::exception &error) {
    std::printf("%s\n", error.what());
    return 1;
}
