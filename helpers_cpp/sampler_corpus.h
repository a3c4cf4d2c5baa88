// What the sampler reads: the arrays of one prepared corpus, the sample table, and lookups by token id.
// Python checks files and settings and words the messages; here every index is checked before it is used.
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

// One row of the sample table; samples.py, SAMPLE.
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

// A contiguous row of T; keeps the numpy array (maybe a memory-mapped file) alive.
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
    Row<bool> continuation, special;
    Row<int64_t> plain, replacements;
    int64_t pad, cls, sep, mask;

    explicit Tokens(const py::object& table)
        : continuation(table.attr("continuation"), "continuation"),
          special(table.attr("special"), "special"),
          plain(table.attr("plain"), "plain"),
          replacements(table.attr("replacements"), "replacements"),
          pad(table.attr("pad_id").cast<int64_t>()),
          cls(table.attr("cls_id").cast<int64_t>()),
          sep(table.attr("sep_id").cast<int64_t>()),
          mask(table.attr("mask_id").cast<int64_t>()) {
        require(size() > 0 && continuation.size() == size() && special.size() == size(),
                "token tables differ in size");
        require(replacements.size() > 0 && replacements.size() < (int64_t{1} << 32), "no replacement tokens");
        for (int64_t id : {pad, cls, sep, mask})
            require(known(id), "a special token is not in the vocabulary");
        for (int64_t id : plain) require(known(id), "a plain form is not in the vocabulary");
        for (int64_t id : replacements) require(known(id), "a replacement is not in the vocabulary");
    }
    int64_t size() const { return plain.size(); }
    bool known(int64_t id) const { return id >= 0 && id < size(); }
};

// A prepared corpus; indexed.py, IndexedCorpus.
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
        has_spans = !corpus.attr("spans").is_none();
        if (has_spans) spans = Row<uint8_t>(corpus.attr("spans"), "spans");
        require(!has_spans || spans.size() == size(), "spans and ids differ in length");
        check_edges(sentences, size(), "sentences");
        check_edges(documents, sentences.size() - 1, "documents");
    }
    int64_t size() const { return narrow_ ? ids16_.size() : ids32_.size(); }

    // Id of a token inside the corpus; throws when the vocabulary does not have it.
    int64_t id(int64_t token, const Tokens& tokens) const {
        return narrow_ ? checked(ids16_, token, tokens) : checked(ids32_, token, tokens);
    }

    // Calls use(id, bits) for each token of a range inside the corpus; bits are those of PREFIX_spans.npy.
    template <typename Use>
    void visit(int64_t start, int64_t end, const Tokens& tokens, Use use) const {
        if (narrow_) visit(ids16_, start, end, tokens, use);
        else visit(ids32_, start, end, tokens, use);
    }

    // Whether a segment may begin at a token: at a word, not inside an entity.
    bool may_start(int64_t token, const Tokens& tokens) const {
        if (!has_spans) return !tokens.continuation[id(token, tokens)];
        uint8_t bits = spans[token];
        return (bits & kWordStart) && ((bits >> kTypeShift) == 0 || (bits & kEntityStart));
    }

    Row<int64_t> sentences, documents;
    Row<uint8_t> spans;
    bool has_spans;

  private:
    template <typename Ids, typename Use>
    void visit(const Ids& ids, int64_t start, int64_t end, const Tokens& tokens, Use use) const {
        if (has_spans) {
            for (int64_t token = start; token < end; ++token) use(checked(ids, token, tokens), spans[token]);
        } else {
            for (int64_t token = start; token < end; ++token) {
                int64_t id = checked(ids, token, tokens);
                use(id, static_cast<uint8_t>(tokens.continuation[id] ? 0 : kWordStart));
            }
        }
    }

    template <typename Ids>
    int64_t checked(const Ids& ids, int64_t token, const Tokens& tokens) const {
        int64_t id = ids[token];
        if (!tokens.known(id)) reject(token, id, tokens.size());
        return id;
    }

    [[noreturn]] void reject(int64_t token, int64_t id, int64_t size) const {
        throw std::invalid_argument("token " + std::to_string(token) + " of " + prefix_ + "_ids.npy is " +
                                    std::to_string(id) + ", but the vocabulary has " + std::to_string(size) +
                                    " tokens; give the vocabulary that the corpus was prepared with");
    }

    static void check_edges(const Row<int64_t>& edges, int64_t end, const char* name) {
        require(edges.size() > 0 && edges[0] == 0 && edges[edges.size() - 1] == end &&
                    std::is_sorted(edges.begin(), edges.end()),
                std::string(name) + " must rise from 0 to the end");
    }

    std::string prefix_;
    bool narrow_;
    Row<uint16_t> ids16_;
    Row<int32_t> ids32_;
};

}  // namespace sampler
