#include "encode.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>

namespace py = pybind11;

namespace efs {
namespace {

constexpr size_t LONGEST_MARKED_WORD = 6;  // tokens, in PaddleNLP's rule
const std::vector<Span> NO_SPANS;

bool is_end_mark(char32_t c) { return c == U'。' || c == U'！' || c == U'？' || c == U'；' || c == U'…'; }

bool is_closing_mark(char32_t c) {
    static const CodePoints marks = U"”’」』》）〉】〕)\"'";
    return marks.find(c) != CodePoints::npos;
}

}  // namespace

Encoder::Encoder(WordPiece& pieces, Segmenter* segmenter, bool paddlenlp_rule, bool newlines_only,
                 int max_sentence_length)
    : pieces_(pieces), segmenter_(segmenter), paddlenlp_rule_(paddlenlp_rule), newlines_only_(newlines_only) {
    if (max_sentence_length < 2) throw py::value_error("max_sentence_length must be at least 2");
    max_sentence_length_ = static_cast<size_t>(max_sentence_length);
}

void Encoder::clear() {
    ids.clear();
    bits.clear();
    lens.clear();
    docs.clear();
    long_sentences = sentences_ = 0;
}

// A sentence ends after end marks and the closing quotes that follow them, or at the end of a line; sentences.py.
void Encoder::add_text(CodePointView text) {
    const size_t n = text.size();
    for (size_t start = 0, end; start < n; start = end) {
        end = start;
        if (text[start] == U'\n') {
            ++end;
            continue;
        }
        while (end < n && text[end] != U'\n' && (newlines_only_ || !is_end_mark(text[end]))) ++end;
        while (end < n && text[end] != U'\n' && is_end_mark(text[end])) {
            while (end < n && is_end_mark(text[end])) ++end;
            while (end < n && is_closing_mark(text[end])) ++end;
        }
        add_sentence(text.substr(start, end - start), nullptr, NO_SPANS, NO_SPANS);
    }
}

void Encoder::add_sentence(CodePointView text, const uint8_t* starts, const std::vector<Span>& annotated,
                           const std::vector<Span>& detected) {
    for (const std::vector<Span>* spans : {&annotated, &detected})
        for (const Span& span : *spans)
            if (span.start >= span.end || span.end > text.size() || span.code < 1 || span.code > WORD_CODE)
                throw py::value_error("a span is not inside its sentence");
    known_.reset(text.size());
    detected_ = detected;
    if (starts)
        std::copy(starts, starts + text.size(), known_.word_start.begin());
    else
        segment(text);
    known_.apply(annotated, detected_);
    const size_t first = ids.size();
    encode(text);
    close_sentence(first);
}

// Finds the words, and the user words with an entity type among them.
void Encoder::segment(CodePointView text) {
    const size_t n = text.size();
    if (!segmenter_) {
        std::fill(known_.word_start.begin(), known_.word_start.begin() + n, uint8_t{1});
        return;
    }
    segmenter_->mark_starts(text, known_.word_start.data());
    if (!segmenter_->has_types()) return;
    for (size_t start = 0, end; start < n; start = end) {
        end = start + 1;
        while (end < n && !known_.word_start[end]) ++end;
        if (const int type = segmenter_->type_of(text.substr(start, end - start)))
            detected_.push_back({static_cast<uint32_t>(start), static_cast<uint32_t>(end), type});
    }
}

void Encoder::encode(CodePointView text) {
    tokens_.clear();
    pieces_.tokenize(text, paddlenlp_rule_, tokens_);
    if (paddlenlp_rule_) find_paddlenlp_continuations(text);
    int64_t previous_start = -1;  // first character of the previous token
    int32_t previous_entity = 0;
    for (size_t i = 0; i < tokens_.size(); ++i) {
        Token& token = tokens_[i];
        const int64_t start = std::max<int64_t>(token.start, previous_start);
        bool word_start = !token.is_continuation, span_edge = i == 0, phrase_edge = false;
        if (paddlenlp_rule_) {
            word_start = word_start && !continues_[i];
        } else if (word_start) {
            word_start = false;
            for (int64_t p = previous_start + 1; p <= start && !word_start; ++p) word_start = known_.word_start[p];
        }
        int32_t entity = 0;
        if (!known_.words_only) {
            for (int64_t p = previous_start + 1; p <= start; ++p) {
                span_edge = span_edge || known_.span_edge[p];
                phrase_edge = phrase_edge || known_.phrase[p] == 1;
            }
            for (int64_t p = start; p < token.end && entity == 0; ++p) entity = known_.entity[p];
        }
        const bool new_entity = entity != previous_entity;
        const bool starts_word = span_edge || word_start || phrase_edge || new_entity;
        const bool starts_phrase =
            i == 0 || (starts_word && (known_.words_only || phrase_edge || known_.phrase[start] == -1));
        bits.push_back(static_cast<uint8_t>((starts_word ? WORD_START : 0) | (starts_phrase ? PHRASE_START : 0) |
                                            (entity != 0 && new_entity ? ENTITY_START : 0) |
                                            (entity != 0 ? known_.types[entity] << TYPE_SHIFT : 0)));
        const bool continues_word = paddlenlp_rule_ ? continues_[i] : !starts_word && pieces_.is_basic_han(token.id);
        const int32_t continuation = continues_word ? pieces_.continuation_of(token.id) : -1;
        ids.push_back(continuation >= 0 ? continuation : token.id);
        previous_start = start;
        previous_entity = entity;
    }
}

// PaddleNLP's whole word rule; see encoding.py, paddlenlp_continuations.
void Encoder::find_paddlenlp_continuations(CodePointView text) {
    const size_t n = tokens_.size();
    continues_.assign(n, 0);
    words_.fill(text, known_);
    if (words_.empty()) return;
    size_t ends[LONGEST_MARKED_WORD];
    for (size_t i = 0; i < n;) {
        if (!pieces_.has_han(tokens_[i].id)) {
            ++i;
            continue;
        }
        const size_t longest = words_.max_length_from(pieces_.text_of(tokens_[i].id)[0]);
        joined_.clear();
        size_t count = 0;
        for (; count < LONGEST_MARKED_WORD && i + count < n && joined_.size() < longest; ++count) {
            joined_ += pieces_.text_of(tokens_[i + count].id);
            ends[count] = joined_.size();
        }
        while (count > 1 && !words_.contains(CodePointView(joined_.data(), ends[count - 1]))) --count;
        std::fill(continues_.begin() + i + 1, continues_.begin() + i + std::max<size_t>(count, 1), uint8_t{1});
        i += std::max<size_t>(count, 1);
    }
}

// Splits a sentence of more than max_sentence_length_ tokens; see encoding.py, split_points.
void Encoder::close_sentence(size_t first) {
    const size_t n = ids.size() - first;
    if (n == 0) return;
    size_t start = 0;
    uint8_t* bit = bits.data() + first;
    while (n - start > max_sentence_length_) {
        const size_t full = start + max_sentence_length_, low = full - (max_sentence_length_ + 1) / 2;
        size_t phrase = 0, word = 0;
        for (size_t p = full; p > low && phrase == 0; --p) {
            if (!(bit[p] & ENTITY_START) && (bit[p] >> TYPE_SHIFT) != 0) continue;
            if (bit[p] & PHRASE_START) phrase = p;
            if (word == 0 && (bit[p] & WORD_START)) word = p;
        }
        const size_t point = phrase ? phrase : word ? word : full;
        lens.push_back(static_cast<int32_t>(point - start));
        ++sentences_;
        bit[point] |= WORD_START | PHRASE_START | (bit[point] >> TYPE_SHIFT ? ENTITY_START : 0);
        start = point;
    }
    long_sentences += start > 0;
    lens.push_back(static_cast<int32_t>(n - start));
    ++sentences_;
}

void Encoder::end_document() {
    if (sentences_ > 0) docs.push_back(sentences_);
    sentences_ = 0;
}

namespace {

using Triples = std::vector<std::tuple<uint32_t, uint32_t, int>>;

std::vector<Span> spans_of(const Triples& triples) {
    std::vector<Span> spans;
    for (const auto& [start, end, code] : triples) spans.push_back({start, end, code});
    return spans;
}

void add_sentence(Encoder& self, const py::str& text, const py::object& words, const Triples& annotated,
                  const Triples& detected) {
    const CodePoints points = code_points(text);
    if (words.is_none()) {
        self.add_sentence(points, nullptr, spans_of(annotated), spans_of(detected));
        return;
    }
    std::vector<uint8_t> starts(points.size() + 1);
    size_t position = 0;
    for (const py::handle& word : words) {
        if (position > points.size()) break;
        starts[position] = 1;
        position += py::len(word);
    }
    if (position != points.size()) throw py::value_error("the words are not those of the text");
    self.add_sentence(points, starts.data(), spans_of(annotated), spans_of(detected));
}

template <class T>
py::array_t<T> array_of(const std::vector<T>& values) {
    return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

py::tuple take(Encoder& self) {
    py::tuple out = py::make_tuple(array_of(self.ids), array_of(self.bits), array_of(self.lens), array_of(self.docs),
                                   self.long_sentences);
    self.clear();
    return out;
}

}  // namespace

void bind_encoder(py::module_& module) {
    py::class_<Encoder>(module, "Encoder")
        .def(py::init<WordPiece&, Segmenter*, bool, bool, int>(), py::arg("pieces"), py::arg("segmenter").none(true),
             py::arg("paddlenlp_rule"), py::arg("newlines_only"), py::arg("max_sentence_length"),
             py::keep_alive<1, 2>(), py::keep_alive<1, 3>())
        .def("add_text", [](Encoder& self, const py::str& text) { self.add_text(code_points(text)); })
        .def("add_sentence", &add_sentence, py::arg("text"), py::arg("words"), py::arg("annotated"),
             py::arg("detected"))
        .def("end_document", &Encoder::end_document)
        .def("take", &take);
}

}  // namespace efs
