// The parts of the extension module ernie_from_scratch._helpers.
// Each part is a .cpp file in this folder with one bind function, declared here and called in module.cpp.
#pragma once

#include <pybind11/pybind11.h>

void bind_wordpiece(pybind11::module_& module);  // wordpiece.cpp, encode.cpp: text -> token ids
void bind_segment(pybind11::module_& module);    // segment.cpp: text -> words (dictionary + HMM)
void bind_sampler(pybind11::module_& module);    // sampler.cpp: token ids -> masked samples
