// Entry of the extension module ernie_from_scratch._helpers: calls the bind function of each part.
// Python reaches it through ernie_from_scratch/native.py only.
#include "helpers.h"

PYBIND11_MODULE(_helpers, module) {
    module.doc() = "C++ versions of the inner loops of text/ and dataset/; each has a Python version with equal results.";
    bind_wordpiece(module);
    bind_segment(module);
    bind_sampler(module);
}
