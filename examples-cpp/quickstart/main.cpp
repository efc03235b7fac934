// One RMS norm through reflex::infer, on memory and a stream of this program. Runs on a GPU where there is one, else on the CPU.
#include <cstdio>
#include <exception>

#include <reflex/infer.hpp>

static void run() {
    const reflex::context context;  // AUTO: CUDA where a device and a matching kernel image exist, else CPU
    const reflex_device_info info = context.info();
    std::printf("reflex-infer %s on %s (%s)\n", reflex_get_build_info().version, info.name,
                context.is_cuda() ? "cuda" : "cpu");
    if (!context.is_cuda()) std::printf("no GPU is used: %s\n", context.backend_reason());

    // Memory of cudaMalloc and a stream of cudaStreamCreate serve as well; these need no CUDA toolkit.
    const reflex::stream stream(context);
    const reflex::device_buffer buffer(context, 4 * sizeof(float));
    float row[4] = {1, 2, 3, 4};
    reflex::check(reflex_memcpy(context.get(), buffer.get(), row, sizeof row, stream.get()));

    reflex::norm_params norm;
    norm.x = reflex::tensor(buffer.get(), REFLEX_DTYPE_F32, {1, 4});
    norm.y = norm.x;  // in place
    norm.epsilon = 1e-6f;
    reflex::check(reflex_norm(context.get(), &norm, stream.get()));

    reflex::check(reflex_memcpy(context.get(), row, buffer.get(), sizeof row, stream.get()));
    stream.synchronize();
    std::printf("rms_norm(1 2 3 4) = %.4f %.4f %.4f %.4f\n", row[0], row[1], row[2], row[3]);
}

int main() {
    try {
        run();
        return 0;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "reflex-quickstart: %s\n", error.what());
        return 1;
    }
}
