/* A stand-in for libnvidia-ml.so.1 with two devices: at bus 01 one that answers everything, at bus 02 one that supports
 * nothing. With ORIN it is a Jetson Orin's: one device at no bus, whose UUID lacks the prefix and which supports nothing.
 * Signatures and numbers are those of the NVML API Reference. */
#include <stdint.h>
#include <string.h>

typedef struct device {
    int answers;
} *nvmlDevice_t;
typedef int nvmlReturn_t;
enum { SUCCESS = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6 };

static struct device full = {1}, empty = {0};

#define ANSWER(device, statement)                 \
    if (!(device)->answers) return NOT_SUPPORTED; \
    statement;                                    \
    return SUCCESS

nvmlReturn_t nvmlInit_v2(void) { return SUCCESS; }
nvmlReturn_t nvmlShutdown(void) { return SUCCESS; }
nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned length) {
    strncpy(version, "580.95.05", length);
    return SUCCESS;
}
#ifdef ORIN
#define DEVICES 1
#define NAME "Orin (nvgpu)"
static nvmlDevice_t by_bus(const char *id) {
    (void)id;
    return NULL;
}
static nvmlDevice_t by_uuid(const char *uuid) {
    return strcmp(uuid, "10111213-1415-1617-1819-1a1b1c1d1e1f") == 0 ? &empty : NULL;
}
#else
#define DEVICES 2
#define NAME "NVIDIA H200"
static nvmlDevice_t by_bus(const char *id) {
    return strcmp(id, "0000:01:00.0") == 0 ? &full : strcmp(id, "0000:02:00.0") == 0 ? &empty : NULL;
}
static nvmlDevice_t by_uuid(const char *uuid) {
    return strcmp(uuid, "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f") == 0 ? &full : NULL;
}
#endif
nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *id, nvmlDevice_t *device) {
    *device = by_bus(id);
    return *device ? SUCCESS : NOT_FOUND;
}
nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device) {
    *device = by_uuid(uuid);
    return *device ? SUCCESS : NOT_FOUND;
}
nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *count) {
    *count = DEVICES;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *device) {
    *device = index >= DEVICES ? NULL : index == DEVICES - 1 ? &empty : &full;
    return *device ? SUCCESS : NOT_FOUND;
}
nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned length) {
    (void)device;
    strncpy(name, NAME, length);
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t d, unsigned *mw) { ANSWER(d, *mw = 123456); }
nvmlReturn_t nvmlDeviceGetEnforcedPowerLimit(nvmlDevice_t d, unsigned *mw) { ANSWER(d, *mw = 700000); }
nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t d, unsigned long long *mj) {
    ANSWER(d, *mj = 5000000250ull);
}
/* 1: SM, 2: memory. */
nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t d, unsigned type, unsigned *mhz) {
    ANSWER(d, *mhz = type == 1 ? 1755 : type == 2 ? 3201 : 0);
}
nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t d, unsigned type, unsigned *mhz) {
    ANSWER(d, *mhz = type == 1 ? 1980 : type == 2 ? 3202 : 0);
}
nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t d, unsigned sensor, unsigned *degrees) {
    ANSWER(d, *degrees = 41 + sensor);
}
nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t d, unsigned percent[2]) {
    ANSWER(d, (percent[0] = 97, percent[1] = 64));
}
/* Software power cap (4) and software thermal slowdown (0x20). */
nvmlReturn_t nvmlDeviceGetCurrentClocksThrottleReasons(nvmlDevice_t d, unsigned long long *reasons) {
    ANSWER(d, *reasons = 0x24);
}
typedef struct {
    unsigned version;
    unsigned long long total, reserved, free, used;
} memory_v2;
nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t d, memory_v2 *memory) {
    ANSWER(d, (memory->total = 1000000, memory->reserved = 50000, memory->free = 700000, memory->used = 250000));
}
typedef struct {
    unsigned field, scope;
    long long timestamp, latency;
    unsigned type;
    nvmlReturn_t status;
    union {
        unsigned u32;
        unsigned long long u64;
        double f64;
    } value;
} field_value;
/* 82: temperature of the memory; type 1: unsigned int. */
nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t d, int count, field_value *values) {
    for (int i = 0; i < count; i++) {
        values[i].type = 1;
        values[i].status = d->answers && values[i].field == 82 ? SUCCESS : NOT_SUPPORTED;
        values[i].value.u32 = 52;
    }
    return SUCCESS;
}
