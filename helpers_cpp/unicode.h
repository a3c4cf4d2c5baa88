// Python strings as code points, without going through UTF-8 (a lone surrogate stays what it is).
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace efs {

using CodePoints = std::u32string;
using CodePointView = std::u32string_view;

inline void read_code_points(const pybind11::handle& text, CodePoints& out) {
    PyObject* object = text.ptr();
    if (!PyUnicode_Check(object)) throw pybind11::type_error("text must be a str");
    const Py_ssize_t length = PyUnicode_GET_LENGTH(object);
    out.resize(static_cast<size_t>(length));
    const void* data = PyUnicode_DATA(object);
    const int kind = PyUnicode_KIND(object);
    for (Py_ssize_t i = 0; i < length; ++i) out[i] = PyUnicode_READ(kind, data, i);
}

inline CodePoints code_points(const pybind11::handle& text) {
    CodePoints out;
    read_code_points(text, out);
    return out;
}

inline pybind11::str to_python(CodePointView text) {
    PyObject* made =
        PyUnicode_FromKindAndData(PyUnicode_4BYTE_KIND, text.data(), static_cast<Py_ssize_t>(text.size()));
    if (!made) throw pybind11::error_already_set();
    return pybind11::reinterpret_steal<pybind11::str>(made);
}

inline bool is_ascii_letter_or_digit(char32_t c) {
    return (c >= U'0' && c <= U'9') || (c >= U'a' && c <= U'z') || (c >= U'A' && c <= U'Z');
}

}  // namespace efs
