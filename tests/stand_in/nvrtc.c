// A stand-in for libnvrtc.so: the real NVRTC compiles, and the source is kept for the stand-in driver.
//
// STAND_IN_NVRTC names the real library. What it makes of a source gets one more line, a comment that
// names the file of the source and of the options in STAND_IN_KERNELS.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CALL(name) __attribute__((visibility("default"))) int name

static void *real(const char *name) {
    static void *library;
    if (!library) library = dlopen(getenv("STAND_IN_NVRTC"), RTLD_NOW | RTLD_LOCAL);
    if (!library) fprintf(stderr, "stand-in NVRTC: %s\n", dlerror());
    return library ? dlsym(library, name) : NULL;
}

typedef struct { void *program; char *source, key[33]; } Program;

static void note(uint64_t state[2], const char *text) {
    for (; *text; text++) {
        state[0] = (state[0] ^ (unsigned char)*text) * 0x100000001b3ull;
        state[1] = (state[1] + (unsigned char)*text) * 0x9e3779b97f4a7c15ull;
        state[1] ^= state[1] >> 29;
    }
}
static void keep(const char *key, const char *suffix, const char *text) {
    char path[4096], unfinished[4200];
    snprintf(path, sizeof path, "%s/%s.%s", getenv("STAND_IN_KERNELS"), key, suffix);
    if (!access(path, R_OK)) return;
    snprintf(unfinished, sizeof unfinished, "%s.%d", path, (int)getpid());
    FILE *file = fopen(unfinished, "w");
    if (!file) return;
    fputs(text, file);
    fclose(file);
    rename(unfinished, path);
}

CALL(nvrtcVersion)(int *major, int *minor) {
    int (*function)(int *, int *) = real("nvrtcVersion");
    return function ? function(major, minor) : 1;
}
const char *nvrtcGetErrorString(int code) {
    const char *(*function)(int) = real("nvrtcGetErrorString");
    return function(code);
}
CALL(nvrtcCreateProgram)(Program **made, const char *source, const char *name, int n, const char **headers, const char **names) {
    int (*function)(void **, const char *, const char *, int, const char **, const char **) = real("nvrtcCreateProgram");
    Program *program = calloc(1, sizeof *program);
    program->source = strdup(source);
    *made = program;
    return function(&program->program, source, name, n, headers, names);
}
CALL(nvrtcDestroyProgram)(Program **program) {
    int (*function)(void **) = real("nvrtcDestroyProgram");
    int code = function(&(*program)->program);
    free((*program)->source);
    free(*program);
    *program = NULL;
    return code;
}
static long compiled;
__attribute__((visibility("default"))) long stand_in_compiled(void) { return compiled; }
static char options_of_last[4096];
__attribute__((visibility("default"))) const char *stand_in_options(void) { return options_of_last; }

CALL(nvrtcCompileProgram)(Program *program, int n, const char **options) {
    int (*function)(void *, int, const char **) = real("nvrtcCompileProgram");
    uint64_t state[2] = {0xcbf29ce484222325ull, 1};
    size_t size = 1;
    for (int i = 0; i < n; i++) size += strlen(options[i]) + 1;
    char *all = calloc(1, size);
    for (int i = 0; i < n; i++) strcat(strcat(all, options[i]), "\n");
    note(state, program->source);
    note(state, all);
    snprintf(program->key, sizeof program->key, "%016llx%016llx", (unsigned long long)state[0], (unsigned long long)state[1]);
    keep(program->key, "cu", program->source);
    keep(program->key, "options", all);
    snprintf(options_of_last, sizeof options_of_last, "%s", all);
    free(all);
    __atomic_fetch_add(&compiled, 1, __ATOMIC_RELAXED);
    return function(program->program, n, options);
}

static const char FORM[] = "\n// stand-in source: %s\n";
CALL(nvrtcGetPTXSize)(Program *program, size_t *size) {
    int (*function)(void *, size_t *) = real("nvrtcGetPTXSize");
    int code = function(program->program, size);
    *size += sizeof FORM + 32;
    return code;
}
CALL(nvrtcGetPTX)(Program *program, char *ptx) {
    int (*function)(void *, char *) = real("nvrtcGetPTX");
    int code = function(program->program, ptx);
    if (!code) sprintf(ptx + strlen(ptx), FORM, program->key);
    return code;
}
CALL(nvrtcGetProgramLogSize)(Program *program, size_t *size) {
    int (*function)(void *, size_t *) = real("nvrtcGetProgramLogSize");
    return function(program->program, size);
}
CALL(nvrtcGetProgramLog)(Program *program, char *log) {
    int (*function)(void *, char *) = real("nvrtcGetProgramLog");
    return function(program->program, log);
}
CALL(nvrtcAddNameExpression)(Program *program, const char *name) {
    int (*function)(void *, const char *) = real("nvrtcAddNameExpression");
    return function(program->program, name);
}
CALL(nvrtcGetLoweredName)(Program *program, const char *name, const char **lowered) {
    int (*function)(void *, const char *, const char **) = real("nvrtcGetLoweredName");
    return function(program->program, name, lowered);
}
