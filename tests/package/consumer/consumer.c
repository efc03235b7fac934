/* What a user of the installed package writes: one RMS norm on the CPU backend, compared with the formula. */
#include <reflex/infer.h>

#include <stdio.h>

enum { ROWS = 2, DIM = 8 };

int main(void) {
    float x[ROWS][DIM], y[ROWS][DIM];
    for (int row = 0; row < ROWS; ++row) {
        for (int i = 0; i < DIM; ++i) {
            x[row][i] = (float)(i - 3 * row) * 0.25f;
        }
    }

    reflex_context_params options = REFLEX_CONTEXT_PARAMS_INIT;
    options.backend = REFLEX_BACKEND_CPU;
    reflex_context *context = NULL;
    if (reflex_context_create(&options, &context) != REFLEX_SUCCESS) {
        printf("context: %s\n", reflex_last_error_message());
        return 1;
    }

    reflex_tensor tensor = {0};
    tensor.dtype = REFLEX_DTYPE_F32;
    tensor.rank = 2;
    tensor.shape[0] = ROWS;
    tensor.shape[1] = DIM;
    reflex_norm_params params = REFLEX_NORM_PARAMS_INIT;
    params.epsilon = 1e-5f;
    params.x = tensor;
    params.x.data = x;
    params.y = tensor;
    params.y.data = y;
    if (reflex_norm(context, &params, NULL) != REFLEX_SUCCESS) {
        printf("norm: %s\n", reflex_last_error_message());
        return 1;
    }

    for (int row = 0; row < ROWS; ++row) {
        double sum = 0;
        for (int i = 0; i < DIM; ++i) {
            sum += (double)x[row][i] * x[row][i];
        }
        for (int i = 0; i < DIM; ++i) {
            /* y = x / sqrt(mean(x^2) + epsilon), squared so as to need no libm. */
            const double error = (double)y[row][i] * y[row][i] * (sum / DIM + 1e-5) - (double)x[row][i] * x[row][i];
            if (!(error < 1e-5 && error > -1e-5) || (x[row][i] < 0) != (y[row][i] < 0)) {
                printf("y[%d][%d] is %g for x = %g\n", row, i, (double)y[row][i], (double)x[row][i]);
                return 1;
            }
        }
    }

    /* A wrong call has to say so, through the same library. */
    params.epsilon = -1.0f;
    if (reflex_norm(context, &params, NULL) != REFLEX_INVALID_ARGUMENT || reflex_last_error_message()[0] == '\0') {
        printf("a negative epsilon is accepted\n");
        return 1;
    }
    reflex_context_destroy(context);
    printf("reflex-infer %s: norm agrees\n", reflex_get_build_info().version);
    return 0;
}
