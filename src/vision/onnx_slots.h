/* The part of ONNX Runtime's C interface that we use. Its header is in no package that we can count on, so the library is opened
 * at run time and the functions are taken from its table by their place, which upstream never changes: it only appends.
 * X(slot, name, answer, arguments); onnx_slots_check.c compares the slots with the true header where there is one. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct onnx_status;
struct onnx_env;
struct onnx_session;
struct onnx_session_options;
struct onnx_run_options;
struct onnx_value;
struct onnx_memory_info;
struct onnx_allocator;
struct onnx_shape_info;

#define ONNX_SLOTS(X)                                                                                                      \
    X(2, GetErrorMessage, const char *, (const struct onnx_status *status))                                                \
    X(3, CreateEnv, struct onnx_status *, (int severity, const char *name, struct onnx_env **ret))                         \
    X(6, DisableTelemetryEvents, struct onnx_status *, (const struct onnx_env *env))                                       \
    X(8, CreateSessionFromArray, struct onnx_status *, (const struct onnx_env *env, const void *model, size_t model_bytes, \
        const struct onnx_session_options *options, struct onnx_session **ret))                                            \
    X(9, Run, struct onnx_status *, (struct onnx_session *session, const struct onnx_run_options *options,                 \
        const char *const *input_names, const struct onnx_value *const *inputs, size_t inputs_count,                       \
        const char *const *output_names, size_t outputs_count, struct onnx_value **outputs))                               \
    X(10, CreateSessionOptions, struct onnx_status *, (struct onnx_session_options **ret))                                 \
    X(17, DisableMemPattern, struct onnx_status *, (struct onnx_session_options *options))                                 \
    X(19, DisableCpuMemArena, struct onnx_status *, (struct onnx_session_options *options))                                \
    X(22, SetSessionLogSeverityLevel, struct onnx_status *, (struct onnx_session_options *options, int severity))          \
    X(23, SetSessionGraphOptimizationLevel, struct onnx_status *, (struct onnx_session_options *options, int level))       \
    X(24, SetIntraOpNumThreads, struct onnx_status *, (struct onnx_session_options *options, int threads))                 \
    X(25, SetInterOpNumThreads, struct onnx_status *, (struct onnx_session_options *options, int threads))                 \
    X(36, SessionGetInputName, struct onnx_status *, (const struct onnx_session *session, size_t index,                    \
        struct onnx_allocator *allocator, char **ret))                                                                     \
    X(37, SessionGetOutputName, struct onnx_status *, (const struct onnx_session *session, size_t index,                   \
        struct onnx_allocator *allocator, char **ret))                                                                     \
    X(49, CreateTensorWithDataAsOrtValue, struct onnx_status *, (const struct onnx_memory_info *info, void *data,          \
        size_t data_bytes, const int64_t *shape, size_t shape_count, int type, struct onnx_value **ret))                   \
    X(51, GetTensorMutableData, struct onnx_status *, (struct onnx_value *value, void **ret))                              \
    X(60, GetTensorElementType, struct onnx_status *, (const struct onnx_shape_info *info, int *ret))                      \
    X(61, GetDimensionsCount, struct onnx_status *, (const struct onnx_shape_info *info, size_t *ret))                     \
    X(62, GetDimensions, struct onnx_status *, (const struct onnx_shape_info *info, int64_t *ret, size_t count))           \
    X(65, GetTensorTypeAndShape, struct onnx_status *, (const struct onnx_value *value, struct onnx_shape_info **ret))     \
    X(69, CreateCpuMemoryInfo, struct onnx_status *, (int allocator, int type, struct onnx_memory_info **ret))             \
    X(76, AllocatorFree, struct onnx_status *, (struct onnx_allocator *allocator, void *memory))                           \
    X(78, GetAllocatorWithDefaultOptions, struct onnx_status *, (struct onnx_allocator **ret))                             \
    X(92, ReleaseEnv, void, (struct onnx_env *env))                                                                        \
    X(93, ReleaseStatus, void, (struct onnx_status *status))                                                               \
    X(94, ReleaseMemoryInfo, void, (struct onnx_memory_info *info))                                                        \
    X(95, ReleaseSession, void, (struct onnx_session *session))                                                            \
    X(96, ReleaseValue, void, (struct onnx_value *value))                                                                  \
    X(99, ReleaseTensorTypeAndShapeInfo, void, (struct onnx_shape_info *info))                                             \
    X(100, ReleaseSessionOptions, void, (struct onnx_session_options *options))                                            \
    X(130, AddSessionConfigEntry, struct onnx_status *, (struct onnx_session_options *options, const char *key,            \
        const char *value))

enum {
    ONNX_API_VERSION = 20,          /* the oldest table that has been tried; a newer library answers for it too */
    ONNX_SEVERITY_FATAL = 4,
    ONNX_OPTIMIZE_ALL = 99,
    ONNX_TYPE_FLOAT = 1,
    ONNX_ALLOCATOR_DEVICE = 0,
    ONNX_MEMORY_DEFAULT = 0,
};
