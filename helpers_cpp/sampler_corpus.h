// What the sampler reads: the arrays of one prepared corpus, the sample table, and lookups by token id.
// Python checks files and settings and reports errors to the user; here every index is checked before use.
#pragma once
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace sampler {

namespace py = pybind11;

constexpr uint8_t kWordStart = 1, kPhraseStart = 2, kEntityStart = 4;
constexpr int kTypeShift = 4;

// One record of the sample table; samples.py, SAMPLE.
struct SampleRow {
    int64_t start;
    int64_t sentence;
    int32_t document;
    int32_t length;
};

inline void require(bool condition, const std::string& message) {
    if (!condition) throw std::invalid_argument(message);
}

template <typename T>
using Array = py::array_t<T, py::array::c_style>;

// A contiguous 1-D array of T; keeps the numpy array (which may be a memory-mapped file) alive.
template <typename T>
class Row {
  public:
    Row() = default;
    Row(const py::object& object, const char* name) {
        require(py::isinstance<Array<T>>(object), std::string(name) + " has the wrong type");
        array_ = py::reinterpret_borrow<Array<T>>(object);
        require(array_.ndim() == 1, std::string(name) + " must have one dimension");
        data_ = array_.data();
        size_ = array_.shape(0);
    }
    const T& operator[](int64_t index) const { return data_[index]; }
    const T* begin() const { return data_; }
    const T* end() const { return data_ + size_; }
    int64_t size() const { return size_; }

  private:
    Array<T> array_;
    const T* data_ = nullptr;
    int64_t size_ = 0;
};

// Lookups by token id; tokens.py, TokenTable.
struct Tokens {
    Row<bool> special;
    Row<int64_t> model_ids, replacements;
    int64_t pad, cls, sep, mask;

    explicit Tokens(const py::object& table)
        : special(table.attr("special"), "special"),
          model_ids(table.attr("model_ids"), "model_ids"),
          replacements(table.attr("replacements"), "replacements"),
          pad(table.attr("pad_id").cast<int64_t>()),
          cls(table.attr("cls_id").cast<int64_t>()),
          sep(table.attr("sep_id").cast<int64_t>()),
          mask(table.attr("mask_id").cast<int64_t>()) {
        require(size() > 0 && special.size() == size(), "token tables differ in size");
        require(replacements.size() > 0 && replacements.size() < (int64_t{1} << 32), "no replacement tokens");
        for (int64_t id : {pad, cls, sep, mask})
            require(known(id), "a special token is not in the vocabulary");
        for (int64_t id : model_ids) require(known(id), "a model id is not in the vocabulary");
        for (int64_t id : replacements) require(known(id), "a replacement is not in the vocabulary");
    }
    int64_t size() const { return model_ids.size(); }
    bool known(int64_t id) const { return id >= 0 && id < size(); }
};

// A prepared corpus; prepared.py, PreparedCorpus.
class Corpus {
  public:
    explicit Corpus(const py::object& corpus)
        : sentences(corpus.attr("sentences"), "sentences"),
          documents(corpus.attr("documents"), "documents"),
          prefix_(py::str(corpus.attr("prefix"))) {
        py::object ids = corpus.attr("ids");
        narrow_ = py::isinstance<Array<uint16_t>>(ids);
        if (narrow_) ids16_ = Row<uint16_t>(ids, "ids");
        else ids32_ = Row<int32_t>(ids, "ids");
        has_spans_ = !corpus.attr("stored_spans").is_none();
        if (has_spans_) spans_ = Row<uint8_t>(corpus.attr("stored_spans"), "spans");
        else continuation_ = Row<bool>(corpus.attr("continuation"), "continuation");
        require(!has_spans_ || spans_.size() == size(), "spans and ids differ in length");
        check_edges(sentences, size(), "sentences");
        check_edges(documents, sentences.size() - 1, "documents");
    }
    int64_t size() const { return narrow_ ? ids16_.size() : ids32_.size(); }

    // Id of a token inside the corpus; throws when it is not below `vocabulary`, the number of ids.
    int64_t id(int64_t token, int64_t vocabulary) const {
        int64_t id = narrow_ ? ids16_[token] : ids32_[token];
        if (id < 0 || id >= vocabulary) reject(token, id, vocabulary);
        return id;
    }

    // Span byte of a token inside the corpus: from PREFIX_spans.npy, or a word (and phrase) at each token that
    // is no ## form.
    uint8_t spans(int64_t token) const {
        if (has_spans_) return spans_[token];
        return continuation_[id(token, continuation_.size())] ? 0 : kWordStart | kPhraseStart;
    }

    // Whether a segment can start at a token: at a word, not inside an entity.
    bool can_start_segment(int64_t token) const {
        uint8_t bits = spans(token);
        return (bits & kWordStart) && ((bits >> kTypeShift) == 0 || (bits & kEntityStart));
    }

    Row<int64_t> sentences, documents;

  private:

    [[noreturn]] void reject(int64_t token, int64_t id, int64_t size) const {
        throw std::invalid_argument("token " + std::to_string(token) + " of " + prefix_ + "_ids.npy is " +
                                    std::to_string(id) + ", but the vocabulary has " + std::to_string(size) +
                                    " tokens; give the vocabulary that the corpus was prepared with");
    }

    static void check_edges(const Row<int64_t>& edges, int64_t end, const char* name) {
        require(edges.size() > 0 && edges[0] == 0 && edges[edges.size() - 1] == end &&
                    std::is_sorted(edges.begin(), edges.end()),
                std::string(name) + " must ascend from 0 to the end");
    }

    std::string prefix_;
    bool narrow_, has_spans_;
    Row<uint16_t> ids16_;
    Row<int32_t> ids32_;
    Row<uint8_t> spans_;      // empty without PREFIX_spans.npy
    Row<bool> continuation_;  // empty with it
};

}  // namespace sampler
