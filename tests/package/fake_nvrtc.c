/* Stands in for NVRTC where CMake asks it what it compiles. */
int nvrtcVersion(int *major, int *minor) {
    *major = 13;
    *minor = 9;
    return 0;
}

int nvrtcGetNumSupportedArchs(int *count) {
    *count = 3;
    return 0;
}

int nvrtcGetSupportedArchs(int *archs) {
    archs[0] = 75;
    archs[1] = 87;
    archs[2] = 90;
    return 0;
}
