// A stand-in for the NVIDIA driver (libcuda.so.1): imaginary GPUs whose memory is the host's.
//
// A launch runs the CUDA source that the kernel's PTX was made from, compiled for the host: PTX that
// the stand-in NVRTC (nvrtc.c) gives ends in a line that names the source. All work is done when a
// call returns.
//
// Environment variables, all optional:
//   STAND_IN_COMPILED  folder of compile.sh and of what it makes (set by build.py)
//   STAND_IN_VERSION   of the driver, as CUDA counts it (12020: CUDA 12.2)
//   STAND_IN_GPUS      how many there are (1)
//   STAND_IN_MEMORY    of each GPU [bytes] (48 GiB)
//   STAND_IN_FAULT     idle: kernels do nothing; wrong: each misses a quarter of its rows;
//                      crash: the first launch ends the process; hang: it never returns;
//                      refuse: no PTX is taken; dead: cuInit fails
//   STAND_IN_IDLE      entry points with this in their names do nothing
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef uint64_t Address;
enum { OK = 0, INVALID_VALUE = 1, NO_MEMORY = 2, NOT_INITIALISED = 3, NO_DEVICE = 100,
       NO_CONTEXT = 201, NEWER_PTX = 222, NOT_FOUND = 500, LAUNCH_FAILED = 719, BROKEN = 999 };
#define CALL(name) __attribute__((visibility("default"))) int name
#define DONE(name) CALL(name)(void) { return OK; }

// ---- what is set from outside, and what is counted

static const char *setting(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}
static int fault(const char *kind) { return !strcmp(setting("STAND_IN_FAULT", ""), kind); }

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct { const char *name; long count; } counters[32];

static void count(const char *name) {
    pthread_mutex_lock(&lock);
    for (int i = 0; i < 32; i++) {
        if (!counters[i].name) counters[i].name = name;
        if (!strcmp(counters[i].name, name)) { counters[i].count++; break; }
    }
    pthread_mutex_unlock(&lock);
}
__attribute__((visibility("default"))) long stand_in_count(const char *name) {
    for (int i = 0; i < 32 && counters[i].name; i++)
        if (!strcmp(counters[i].name, name)) return counters[i].count;
    return 0;
}
static void (*hook)(const char *, const void *, size_t);
__attribute__((visibility("default"))) void stand_in_hook(void *function) { hook = function; }

// ---- devices and contexts

static int is_initialised;
static int gpu_count(void) {
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    int there = atoi(setting("STAND_IN_GPUS", "1")), seen = 0;
    if (!visible) return there;
    char *copy = strdup(visible), *place = NULL;
    for (char *each = strtok_r(copy, ",", &place); each; each = strtok_r(NULL, ",", &place)) {
        if (*each < '0' || *each > '9' || atoi(each) >= there) break;
        seen++;
    }
    free(copy);
    return seen;
}
static size_t memory_bytes(void) { return strtoull(setting("STAND_IN_MEMORY", "51539607552"), 0, 10); }

CALL(cuInit)(unsigned flags) {
    (void)flags;
    if (fault("dead")) return BROKEN;
    is_initialised = 1;
    return gpu_count() ? OK : NO_DEVICE;
}
CALL(cuDriverGetVersion)(int *version) { *version = atoi(setting("STAND_IN_VERSION", "12020")); return OK; }
CALL(cuGetErrorName)(int code, const char **name) {
    static __thread char text[40];
    snprintf(text, sizeof text, "STAND_IN_ERROR_%d", code);
    *name = text;
    return OK;
}
CALL(cuGetErrorString)(int code, const char **text) { return cuGetErrorName(code, text); }
CALL(cuDeviceGet)(int *device, int index) {
    if (index >= gpu_count()) return 101;
    *device = index;
    return OK;
}
CALL(cuDeviceGetCount)(int *number) { *number = gpu_count(); return is_initialised ? OK : NOT_INITIALISED; }
CALL(cuDeviceGetName)(char *name, int size, int device) {
    snprintf(name, size, "Stand-in GPU %d", device);
    return OK;
}
CALL(cuDeviceGetUuid_v2)(char *uuid, int device) { memset(uuid, 7 + device, 16); return OK; }
CALL(cuDeviceGetLuid)(char *luid, unsigned *mask, int device) { memset(luid, device, 8); *mask = 1; return OK; }
CALL(cuDeviceTotalMem_v2)(size_t *bytes, int device) { (void)device; *bytes = memory_bytes(); return OK; }
CALL(cuDeviceGetAttribute)(int *value, int attribute, int device) {
    (void)device;
    switch (attribute) {
    case 1: case 2: case 3: *value = 1024; break;   // threads of a block
    case 4: *value = 64; break;
    case 5: *value = 2147483647; break;             // blocks of a grid
    case 6: case 7: *value = 65535; break;
    case 10: *value = 32; break;                    // warp
    case 75: *value = 8; break;                     // compute capability 8.6
    case 76: *value = 6; break;
    default: *value = 16384;
    }
    return OK;
}

static char contexts[8][64];
static __thread void *stack[32];
static __thread int depth;
static void *current(void) { return depth ? stack[depth - 1] : NULL; }
static int device_of(const void *context) { return (int)((const char *)context - contexts[0]) / 64; }
#define NEED_CONTEXT if (!depth) return NO_CONTEXT

CALL(cuDevicePrimaryCtxRetain)(void **context, int device) { *context = contexts[device]; return OK; }
CALL(cuDevicePrimaryCtxRelease_v2)(int device) { (void)device; return OK; }
CALL(cuDevicePrimaryCtxReset_v2)(int device) { (void)device; return OK; }
CALL(cuCtxCreate_v2)(void **context, unsigned flags, int device) {
    (void)flags;
    stack[depth++] = *context = contexts[device];
    return OK;
}
CALL(cuCtxDestroy_v2)(void *context) { (void)context; return OK; }
CALL(cuCtxPushCurrent_v2)(void *context) { stack[depth++] = context; return OK; }
CALL(cuCtxPopCurrent_v2)(void **context) {
    NEED_CONTEXT;
    depth--;
    if (context) *context = stack[depth];
    return OK;
}
CALL(cuCtxSetCurrent)(void *context) {
    if (!depth) depth = 1;
    stack[depth - 1] = context;
    return OK;
}
CALL(cuCtxGetCurrent)(void **context) { *context = current(); return OK; }
CALL(cuCtxGetDevice)(int *device) { NEED_CONTEXT; *device = device_of(current()); return OK; }
CALL(cuCtxSynchronize)(void) { NEED_CONTEXT; return OK; }

// ---- memory

static size_t used_bytes[8];
typedef struct Block {
    size_t size;
    struct Block *before, *after;  // of those that are in use
    int device;
    char unused[256 - sizeof(size_t) - 2 * sizeof(void *) - sizeof(int)];
} Block;
static Block blocks = {0, &blocks, &blocks, -1, ""};

static void *allocate(size_t size, int device) {
    Block *block = aligned_alloc(256, sizeof(Block) + ((size + 255) & ~(size_t)255));
    if (!block) return NULL;
    block->size = size;
    block->device = device;
    pthread_mutex_lock(&lock);
    used_bytes[device] += size;
    block->after = blocks.after;
    block->before = &blocks;
    blocks.after->before = block;
    blocks.after = block;
    pthread_mutex_unlock(&lock);
    return block + 1;
}
static void release(void *memory) {
    if (!memory) return;
    Block *block = (Block *)memory - 1;
    pthread_mutex_lock(&lock);
    used_bytes[block->device] -= block->size;
    block->before->after = block->after;
    block->after->before = block->before;
    pthread_mutex_unlock(&lock);
    free(block);
}
// The device whose memory an address lies in; -1: none's.
__attribute__((visibility("default"))) int stand_in_device(const char *address) {
    int device = -1;
    pthread_mutex_lock(&lock);
    for (Block *block = blocks.after; block != &blocks; block = block->after)
        if (address >= (char *)(block + 1) && address < (char *)(block + 1) + block->size) device = block->device;
    pthread_mutex_unlock(&lock);
    return device;
}
CALL(cuMemGetInfo_v2)(size_t *free_bytes, size_t *total) {
    NEED_CONTEXT;
    *total = memory_bytes();
    *free_bytes = *total - used_bytes[device_of(current())];
    return OK;
}
CALL(cuMemAlloc_v2)(Address *address, size_t size) {
    NEED_CONTEXT;
    int device = device_of(current());
    if (used_bytes[device] + size > memory_bytes()) return NO_MEMORY;
    *address = (Address)allocate(size, device);
    return *address ? OK : NO_MEMORY;
}
CALL(cuMemFree_v2)(Address address) { release((void *)address); return OK; }
CALL(cuMemAllocHost_v2)(void **memory, size_t size) {
    NEED_CONTEXT;
    count("pinned");
    *memory = aligned_alloc(256, (size + 255) & ~(size_t)255);
    return *memory ? OK : NO_MEMORY;
}
CALL(cuMemFreeHost)(void *memory) { free(memory); return OK; }
CALL(cuMemAllocManaged)(Address *address, size_t size, unsigned flags) { (void)flags; return cuMemAlloc_v2(address, size); }

static int copy(Address to, Address from, size_t size) {
    NEED_CONTEXT;
    memmove((void *)to, (void *)from, size);
    return OK;
}
CALL(cuMemcpy)(Address to, Address from, size_t size) { return copy(to, from, size); }
CALL(cuMemcpyHtoD_v2)(Address to, void *from, size_t size) { count("to device"); return copy(to, (Address)from, size); }
CALL(cuMemcpyDtoH_v2)(void *to, Address from, size_t size) { count("to host, waiting"); return copy((Address)to, from, size); }
CALL(cuMemcpyDtoD_v2)(Address to, Address from, size_t size) { return copy(to, from, size); }
CALL(cuMemcpyAsync)(Address to, Address from, size_t size, void *stream) { (void)stream; return copy(to, from, size); }
CALL(cuMemcpyHtoDAsync_v2)(Address to, void *from, size_t size, void *stream) { (void)stream; count("to device"); return copy(to, (Address)from, size); }
CALL(cuMemcpyDtoHAsync_v2)(void *to, Address from, size_t size, void *stream) {
    count(stream ? "to host, own stream" : "to host, null stream");
    return copy((Address)to, from, size);
}
CALL(cuMemcpyDtoDAsync_v2)(Address to, Address from, size_t size, void *stream) { (void)stream; return copy(to, from, size); }

static int fill(Address at, const void *value, size_t width, size_t number) {
    for (size_t i = 0; i < number; i++) memcpy((char *)at + i * width, value, width);
    return OK;
}
CALL(cuMemsetD8_v2)(Address at, unsigned char value, size_t number) { return fill(at, &value, 1, number); }
CALL(cuMemsetD16_v2)(Address at, unsigned short value, size_t number) { return fill(at, &value, 2, number); }
CALL(cuMemsetD32_v2)(Address at, unsigned value, size_t number) { return fill(at, &value, 4, number); }
CALL(cuMemsetD8Async)(Address at, unsigned char value, size_t number, void *stream) { (void)stream; return fill(at, &value, 1, number); }
CALL(cuMemsetD16Async)(Address at, unsigned short value, size_t number, void *stream) { (void)stream; return fill(at, &value, 2, number); }
CALL(cuMemsetD32Async)(Address at, unsigned value, size_t number, void *stream) { (void)stream; return fill(at, &value, 4, number); }

// What fluoro has no use for fails, so that a new use is noticed.
#define ABSENT(name) CALL(name)(void) { fprintf(stderr, "stand-in driver: no " #name "\n"); return 801; }
ABSENT(cuMemcpy2D_v2) ABSENT(cuMemcpy2DUnaligned_v2) ABSENT(cuMemcpy2DAsync_v2)
ABSENT(cuMemsetD2D8_v2) ABSENT(cuMemsetD2D16_v2) ABSENT(cuMemsetD2D32_v2)
ABSENT(cuMemsetD2D8Async) ABSENT(cuMemsetD2D16Async) ABSENT(cuMemsetD2D32Async) ABSENT(cuMemAdvise_v2)
ABSENT(cuImportExternalMemory) ABSENT(cuExternalMemoryGetMappedBuffer)
ABSENT(cuExternalMemoryGetMappedMipmappedArray) ABSENT(cuDestroyExternalMemory)
ABSENT(cuImportExternalSemaphore) ABSENT(cuSignalExternalSemaphoresAsync)
ABSENT(cuWaitExternalSemaphoresAsync) ABSENT(cuDestroyExternalSemaphore)
ABSENT(cuModuleLoad) ABSENT(cuModuleGetTexRef) ABSENT(cuArrayGetDescriptor_v2)
CALL(cuGetExportTable)(const void **table, const void *id) { (void)id; if (table) *table = NULL; return NOT_FOUND; }

// ---- streams and events: everything is done at once

static int make(void **made) { *made = malloc(8); return OK; }
CALL(cuStreamCreate)(void **stream, unsigned flags) { (void)flags; return make(stream); }
CALL(cuStreamCreateWithPriority)(void **stream, unsigned flags, int priority) { (void)flags; (void)priority; return make(stream); }
DONE(cuStreamWaitEvent) DONE(cuStreamSynchronize) DONE(cuStreamQuery)
CALL(cuStreamDestroy_v2)(void *stream) { free(stream); return OK; }
CALL(cuEventCreate)(void **event, unsigned flags) { (void)flags; return make(event); }
DONE(cuEventRecord) DONE(cuEventQuery) DONE(cuEventSynchronize)
CALL(cuEventDestroy_v2)(void *event) { free(event); return OK; }
CALL(cuEventElapsedTime)(float *ms, void *from, void *to) { (void)from; (void)to; *ms = 0; return OK; }

// ---- textures: an array of float32, linear interpolation (cuda_on_host.h reads `Texture`)

typedef struct { size_t width, height, depth; int format; unsigned channels, flags; } ArrayShape;
typedef struct { int width, height, depth, clamps[3], linear, normalised; float *values; } Texture;
typedef struct {
    size_t x, y, z, level; int type; const void *host; Address device; Texture *array; void *unused; size_t pitch, height;
} Side;
typedef struct { Side from, to; size_t width, height, depth; } Copy3D;
enum { HOST = 1, DEVICE = 2, ARRAY = 3 };

CALL(cuArray3DCreate_v2)(Texture **made, const ArrayShape *shape) {
    if (shape->format != 0x20 || shape->channels != 1) return INVALID_VALUE;  // float32 alone
    Texture *array = calloc(1, sizeof *array);
    array->width = shape->width;
    array->height = shape->height ? shape->height : 1;
    array->depth = shape->depth ? shape->depth : 1;
    array->values = calloc((size_t)array->width * array->height * array->depth, 4);
    *made = array;
    return OK;
}
CALL(cuArrayCreate_v2)(Texture **made, const void *shape) { (void)made; (void)shape; return INVALID_VALUE; }
CALL(cuArrayDestroy)(Texture *array) { free(array->values); free(array); return OK; }
CALL(cuMipmappedArrayCreate)(Texture **made, const ArrayShape *shape, unsigned levels) {
    return levels == 1 ? cuArray3DCreate_v2(made, shape) : INVALID_VALUE;
}
CALL(cuMipmappedArrayDestroy)(Texture *array) { return cuArrayDestroy(array); }
CALL(cuMipmappedArrayGetLevel)(Texture **array, Texture *all, unsigned level) { (void)level; *array = all; return OK; }

static char *row(const Side *side, size_t y, size_t z, size_t height) {
    if (side->type == ARRAY)
        return (char *)(side->array->values + ((side->z + z) * side->array->height + side->y + y) * side->array->width) + side->x;
    char *start = side->type == HOST ? (char *)side->host : (char *)side->device;
    return start + ((side->z + z) * (side->height ? side->height : height) + side->y + y) * side->pitch + side->x;
}
CALL(cuMemcpy3D_v2)(const Copy3D *given) {
    NEED_CONTEXT;
    for (size_t z = 0; z < given->depth; z++)
        for (size_t y = 0; y < given->height; y++)
            memcpy(row(&given->to, y, z, given->height), row(&given->from, y, z, given->height), given->width);
    return OK;
}
CALL(cuMemcpy3DAsync_v2)(const Copy3D *given, void *stream) { (void)stream; return cuMemcpy3D_v2(given); }

typedef struct { int type, unused; Texture *array; } Resource;
typedef struct { int address[3], filter; unsigned flags; } Sampling;
CALL(cuTexObjectCreate)(Address *made, const Resource *resource, const Sampling *sampling, const void *view) {
    (void)view;
    Texture *texture = malloc(sizeof *texture);
    *texture = *resource->array;
    for (int i = 0; i < 3; i++) texture->clamps[i] = sampling->address[i] == 1;
    texture->linear = sampling->filter == 1;
    texture->normalised = (sampling->flags & 2) != 0;
    *made = (Address)texture;
    return OK;
}
CALL(cuTexObjectDestroy)(Texture *texture) { free(texture); return OK; }
CALL(cuSurfObjectCreate)(Address *surface, const void *resource) { (void)resource; *surface = 7; return OK; }
DONE(cuSurfObjectDestroy)

// ---- modules and launches

typedef struct { char *ptx, key[65]; void *globals; size_t globals_size; void *library, *context; } Module;
typedef struct { Module *module; char name[128]; } Function;
typedef void Run(const void *globals, const unsigned *grid, const unsigned *block);

static const char MARK[] = "\n// stand-in source: ";

CALL(cuModuleLoadData)(Module **made, const char *ptx) {
    NEED_CONTEXT;
    int major = 0, minor = 0, newest = atoi(setting("STAND_IN_VERSION", "12020"));
    const char *version = strstr(ptx, ".version ");
    if (version) sscanf(version, ".version %d.%d", &major, &minor);
    // CUDA 12.x takes PTX 8.x, CUDA 13.x takes PTX 9.x, and each takes what is older
    int wanted = (major + 4) * 1000 + minor * 10;
    if (fault("refuse") || wanted > newest) return NEWER_PTX;
    Module *module = calloc(1, sizeof *module);
    module->ptx = strdup(ptx);
    module->context = current();
    const char *mark = strstr(ptx, MARK);
    if (mark) sscanf(mark + sizeof MARK - 1, "%64s", module->key);
    const char *globals = strstr(ptx, "SLANG_globalParams[");
    if (globals) {
        module->globals_size = strtoul(globals + 19, 0, 10);
        module->globals = calloc(1, module->globals_size);
    }
    *made = module;
    return OK;
}
CALL(cuModuleLoadDataEx)(Module **made, const char *ptx, unsigned n, void *options, void *values) {
    (void)n; (void)options; (void)values;
    return cuModuleLoadData(made, ptx);
}
CALL(cuModuleUnload)(Module *module) { free(module->ptx); free(module->globals); free(module); return OK; }
CALL(cuModuleGetFunction)(Function **made, Module *module, const char *name) {
    char entry[160];
    snprintf(entry, sizeof entry, ".entry %s", name);
    if (!strstr(module->ptx, entry)) return NOT_FOUND;
    Function *function = calloc(1, sizeof *function);
    function->module = module;
    snprintf(function->name, sizeof function->name, "%s", name);
    *made = function;
    return OK;
}
CALL(cuModuleGetGlobal_v2)(Address *address, size_t *size, Module *module, const char *name) {
    if (strcmp(name, "SLANG_globalParams") || !module->globals) return NOT_FOUND;
    if (address) *address = (Address)module->globals;
    if (size) *size = module->globals_size;
    return OK;
}
CALL(cuFuncGetAttribute)(int *value, int attribute, Function *function) {
    (void)function;
    *value = attribute == 0 ? 1024 : 0;
    return OK;
}

// Opens what `compile` made of the source, once; build.py says how it is compiled.
static Run *host_code(Function *function) {
    Module *module = function->module;
    char path[4096];
    pthread_mutex_lock(&lock);
    if (!module->library) {
        const char *folder = setting("STAND_IN_COMPILED", "");
        snprintf(path, sizeof path, "%s/%s-%s.so", folder, module->key, function->name);
        if (access(path, R_OK)) {
            char command[8192];
            snprintf(command, sizeof command, "sh '%s/compile.sh' '%s' '%s'", folder, module->key, function->name);
            if (system(command)) fprintf(stderr, "stand-in driver: %s does not compile\n", function->name);
        }
        module->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!module->library) fprintf(stderr, "stand-in driver: %s\n", dlerror());
    }
    pthread_mutex_unlock(&lock);
    return module->library ? (Run *)dlsym(module->library, "stand_in_run") : NULL;
}

CALL(cuLaunchKernel)(Function *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                     unsigned shared, void *stream, void **parameters, void **extra) {
    (void)shared; (void)stream; (void)parameters; (void)extra;
    NEED_CONTEXT;
    Module *module = function->module;
    if (module->context != current()) return INVALID_VALUE;
    count("launches");
    if (hook) hook(function->name, module->globals, module->globals_size);
    if (fault("crash")) abort();
    while (fault("hang")) sleep(1);
    const char *idle = setting("STAND_IN_IDLE", NULL);
    if (fault("idle") || (idle && strstr(function->name, idle))) return OK;
    if (fault("wrong") && gy > 1) gy -= (gy + 3) / 4;
    Run *run = host_code(function);
    if (!run) return LAUNCH_FAILED;
    unsigned grid[3] = {gx, gy, gz}, block[3] = {bx, by, bz};
    run(module->globals, grid, block);
    return OK;
}
