// Entry of the extension module ernie_from_scratch._helpers: calls the bind function of each part.
// Python reaches it through ernie_from_scratch/native.py only.
#include "helpers.h"

PYBIND11_MODULE(_helpers, module) {
    module.doc() = "C++ versions of the data room's inner loops; each has a plain Python twin with equal results.";
#if __has_include("wordpiece.cpp")
    bind_wordpiece(module);
#endif
#if __has_include("segment.cpp")
    bind_segment(module);
#endif
#if __has_include("sampler.cpp")
    bind_sampler(module);
#endif
}
