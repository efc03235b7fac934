/* Stands in for the driver where it must not be opened. */
#include <stdlib.h>

__attribute__((constructor)) static void opened(void) { abort(); }
