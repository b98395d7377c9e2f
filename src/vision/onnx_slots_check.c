/* Where ONNX Runtime's own header is installed, every slot of our table is compared with it while compiling. */
#include "vision/onnx_slots.h"

#if __has_include(<onnxruntime/onnxruntime_c_api.h>)
#include <onnxruntime/onnxruntime_c_api.h>
#define HAVE_HEADER 1
#elif __has_include(<onnxruntime_c_api.h>)
#include <onnxruntime_c_api.h>
#define HAVE_HEADER 1
#endif

#ifdef HAVE_HEADER
#define SAME_SLOT(slot, name, answer, arguments) \
    _Static_assert(offsetof(OrtApi, name) == (slot) * sizeof(void *), "ONNX Runtime's " #name " is in another slot");
ONNX_SLOTS(SAME_SLOT)
#endif
