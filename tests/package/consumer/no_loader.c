/* A fully static program: the CPU backend, and an error that says why there is no other. */
#include <reflex/infer.h>

#include <stdio.h>
#include <string.h>

int main(void) {
    reflex_context_params options = REFLEX_CONTEXT_PARAMS_INIT;
    options.backend = REFLEX_BACKEND_CUDA;
    reflex_context *context = NULL;
    const reflex_status status = reflex_context_create(&options, &context);
    const char *message = reflex_last_error_message();
    const int built = reflex_get_build_info().cuda_archs[0] != '\0';
    if (status != (built ? REFLEX_NO_DRIVER : REFLEX_NOT_BUILT) || (built && !strstr(message, "linked statically"))) {
        printf("CUDA: status %d, %s\n", (int)status, message);
        return 1;
    }
    if (reflex_device_count() != 0) {
        printf("a static program has %d devices\n", (int)reflex_device_count());
        return 1;
    }
    options.backend = REFLEX_BACKEND_AUTO;
    reflex_backend backend = REFLEX_BACKEND_AUTO;
    if (reflex_context_create(&options, &context) != REFLEX_SUCCESS ||
        reflex_context_backend(context, &backend) != REFLEX_SUCCESS || backend != REFLEX_BACKEND_CPU) {
        printf("AUTO: %s\n", reflex_last_error_message());
        return 1;
    }
    reflex_context_destroy(context);
    printf("reflex-infer %s: norm agrees\n", reflex_get_build_info().version);
    return 0;
}
