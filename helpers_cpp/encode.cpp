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

void Boundaries::reset(size_t length) {
    plain = true;
    soft.assign(length + 1, 0);
}

void Boundaries::apply(const std::vector<Span>& given, const std::vector<Span>& found) {
    if (given.empty() && found.empty()) return;
    plain = false;
    const size_t length = soft.size() - 1;
    hard.assign(length + 1, 0);
    phrase.assign(length + 1, -1);
    entity.assign(length, 0);
    types.assign(1, 0);
    std::vector<Span> entities, phrases;
    for (const Span& span : given) {
        if (span.code == WORD_CODE) std::fill(soft.begin() + span.start + 1, soft.begin() + span.end, uint8_t{0});
        hard[span.start] = hard[span.end] = 1;
        if (span.code < PHRASE_CODE) entities.push_back(span);
        if (span.code == PHRASE_CODE) phrases.push_back(span);
    }
    const auto size = [](const Span& span) { return span.end - span.start; };
    std::stable_sort(entities.begin(), entities.end(), [&](const Span& a, const Span& b) {
        return size(a) != size(b) ? size(a) > size(b) : a.start < b.start;
    });
    entities.insert(entities.end(), found.begin(), found.end());
    for (const Span& span : entities) {  // the longer of two given ones wins; given ones win over found ones
        const auto first = entity.begin() + span.start, last = entity.begin() + span.end;
        if (std::any_of(first, last, [](int32_t number) { return number != 0; })) continue;
        types.push_back(span.code);
        std::fill(first, last, static_cast<int32_t>(types.size()) - 1);
        hard[span.start] = hard[span.end] = 1;
        set_phrase(span.start, span.end);
    }
    std::stable_sort(phrases.begin(), phrases.end(), [&](const Span& a, const Span& b) {
        return size(a) != size(b) ? size(a) < size(b) : a.start < b.start;
    });
    for (const Span& span : phrases)  // the outer of two wins
        if (!inside_entity(span.start) && !inside_entity(span.end)) set_phrase(span.start, span.end);
}

void Boundaries::set_phrase(uint32_t start, uint32_t end) {
    phrase[start] = phrase[end] = 1;
    std::fill(phrase.begin() + start + 1, phrase.begin() + end, int8_t{0});
}

bool Boundaries::inside_entity(uint32_t position) const {
    return position > 0 && position < entity.size() && entity[position] != 0 && entity[position] == entity[position - 1];
}

uint64_t WordSet::hash(CodePointView word) {
    uint64_t value = word.size();
    for (char32_t c : word) {
        value = (value ^ c) * 0x9E3779B97F4A7C15ull;
        value ^= value >> 29;
    }
    return value;
}

void WordSet::fill(CodePointView text, const Boundaries& known) {
    text_ = text;
    used_ = 0;
    ++sentence_;
    lengths_.fill(0);
    const size_t length = text.size();
    const auto is_edge = [&](size_t p) { return p == length || known.soft[p] || (!known.plain && known.hard[p]); };
    if (slots_.size() < 2 * length || sentence_ == 0) {
        size_t size = slots_.size();
        while (size < 2 * length) size *= 2;
        slots_.assign(size, Slot{});
        sentence_ = 1;
    }
    for (size_t start = 0, end; start < length; start = end) {
        end = start + 1;
        while (!is_edge(end)) ++end;
        if (end - start < 2) continue;
        lengths_[text[start] % lengths_.size()] |= length_bit(end - start);
        size_t i = hash(text.substr(start, end - start)) & (slots_.size() - 1);
        while (slots_[i].sentence == sentence_) i = (i + 1) & (slots_.size() - 1);
        slots_[i] = {sentence_, static_cast<uint32_t>(start), static_cast<uint32_t>(end - start)};
        ++used_;
    }
}

size_t WordSet::longest_from(char32_t c) const {
    const uint32_t lengths = lengths_[c % lengths_.size()];
    if (lengths == 0) return 0;
    const size_t longest = 31 - static_cast<size_t>(__builtin_clz(lengths));
    return longest == LONGEST_TOLD ? SIZE_MAX : longest;
}

bool WordSet::contains(CodePointView word) const {
    if (!(lengths_[word[0] % lengths_.size()] & length_bit(word.size()))) return false;  // most are told from here
    size_t i = hash(word) & (slots_.size() - 1);
    for (; slots_[i].sentence == sentence_; i = (i + 1) & (slots_.size() - 1))
        if (slots_[i].length == word.size() && text_.substr(slots_[i].start, slots_[i].length) == word) return true;
    return false;
}

Encoder::Encoder(WordPiece& pieces, Segmenter* segmenter, bool exact_marks, bool newlines_only, int longest_sentence)
    : pieces_(pieces), segmenter_(segmenter), exact_(exact_marks), newlines_only_(newlines_only) {
    if (longest_sentence < 2) throw py::value_error("a sentence has room for 2 tokens at least");
    longest_ = static_cast<size_t>(longest_sentence);
}

void Encoder::clear() {
    ids.clear();
    bits.clear();
    lens.clear();
    docs.clear();
    long_sentences = sentences_ = 0;
}

// A sentence ends after end marks and the quotes that close after them, or at a line's end (sentences.py).
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

void Encoder::add_sentence(CodePointView text, const uint8_t* starts, const std::vector<Span>& given,
                           const std::vector<Span>& found) {
    for (const std::vector<Span>* spans : {&given, &found})
        for (const Span& span : *spans)
            if (span.start >= span.end || span.end > text.size() || span.code < 1 || span.code > WORD_CODE)
                throw py::value_error("a span is not inside its sentence");
    known_.reset(text.size());
    typed_ = found;
    if (starts)
        std::copy(starts, starts + text.size(), known_.soft.begin());
    else
        mark_words(text);
    known_.apply(given, typed_);
    const size_t first = ids.size();
    encode(text);
    close_sentence(first);
}

// The segmenter's words and the user's typed words among them.
void Encoder::mark_words(CodePointView text) {
    const size_t n = text.size();
    if (!segmenter_) {
        std::fill(known_.soft.begin(), known_.soft.begin() + n, uint8_t{1});
        return;
    }
    segmenter_->mark_starts(text, known_.soft.data());
    if (!segmenter_->has_types()) return;
    for (size_t start = 0, end; start < n; start = end) {
        end = start + 1;
        while (end < n && !known_.soft[end]) ++end;
        if (const int type = segmenter_->type_of(text.substr(start, end - start)))
            typed_.push_back({static_cast<uint32_t>(start), static_cast<uint32_t>(end), type});
    }
}

void Encoder::encode(CodePointView text) {
    tokens_.clear();
    pieces_.tokenize(text, exact_, tokens_);
    if (exact_) mark_by_set(text);
    int64_t before = -1;         // first character of the token before
    int32_t entity_before = 0;
    for (size_t i = 0; i < tokens_.size(); ++i) {
        Token& token = tokens_[i];
        const int64_t start = std::max<int64_t>(token.start, before);
        bool soft = !token.goes_on, hard = i == 0, phrase_edge = false;
        if (exact_) {
            soft = soft && !marked_[i];
        } else if (soft) {
            soft = false;
            for (int64_t p = before + 1; p <= start && !soft; ++p) soft = known_.soft[p];
        }
        int32_t entity = 0;
        if (!known_.plain) {
            for (int64_t p = before + 1; p <= start; ++p) {
                hard = hard || known_.hard[p];
                phrase_edge = phrase_edge || known_.phrase[p] == 1;
            }
            for (int64_t p = start; p < token.end && entity == 0; ++p) entity = known_.entity[p];
        }
        const bool new_entity = entity != entity_before;
        const bool starts_word = hard || soft || phrase_edge || new_entity;
        const bool starts_phrase =
            i == 0 || (starts_word && (known_.plain || phrase_edge || known_.phrase[start] == -1));
        bits.push_back(static_cast<uint8_t>((starts_word ? WORD_START : 0) | (starts_phrase ? PHRASE_START : 0) |
                                            (entity != 0 && new_entity ? ENTITY_START : 0) |
                                            (entity != 0 ? known_.types[entity] << TYPE_SHIFT : 0)));
        const bool goes_on = exact_ ? marked_[i] : !starts_word && pieces_.is_markable(token.id);
        const int32_t marked = goes_on ? pieces_.going_on(token.id) : -1;
        ids.push_back(marked >= 0 ? marked : token.id);
        before = start;
        entity_before = entity;
    }
}

// PaddleNLP's rule; see encode.py, marks_by_set.
void Encoder::mark_by_set(CodePointView text) {
    const size_t n = tokens_.size();
    marked_.assign(n, 0);
    words_.fill(text, known_);
    if (words_.empty()) return;
    size_t ends[LONGEST_MARKED_WORD];
    for (size_t i = 0; i < n;) {
        if (!pieces_.has_han(tokens_[i].id)) {
            ++i;
            continue;
        }
        const size_t longest = words_.longest_from(pieces_.text_of(tokens_[i].id)[0]);
        joined_.clear();
        size_t count = 0;
        for (; count < LONGEST_MARKED_WORD && i + count < n && joined_.size() < longest; ++count) {
            joined_ += pieces_.text_of(tokens_[i + count].id);
            ends[count] = joined_.size();
        }
        while (count > 1 && !words_.contains(CodePointView(joined_.data(), ends[count - 1]))) --count;
        std::fill(marked_.begin() + i + 1, marked_.begin() + i + std::max<size_t>(count, 1), uint8_t{1});
        i += std::max<size_t>(count, 1);
    }
}

// Splits a sentence of more than longest_ tokens; see encode.py, cut_points.
void Encoder::close_sentence(size_t first) {
    const size_t n = ids.size() - first;
    if (n == 0) return;
    size_t start = 0;
    uint8_t* bit = bits.data() + first;
    while (n - start > longest_) {
        const size_t full = start + longest_, low = full - (longest_ + 1) / 2;
        size_t phrase = 0, word = 0;
        for (size_t p = full; p > low && phrase == 0; --p) {
            if (!(bit[p] & ENTITY_START) && (bit[p] >> TYPE_SHIFT) != 0) continue;
            if (bit[p] & PHRASE_START) phrase = p;
            if (word == 0 && (bit[p] & WORD_START)) word = p;
        }
        const size_t cut = phrase ? phrase : word ? word : full;
        lens.push_back(static_cast<int32_t>(cut - start));
        ++sentences_;
        bit[cut] |= WORD_START | PHRASE_START | (bit[cut] >> TYPE_SHIFT ? ENTITY_START : 0);
        start = cut;
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

void add_sentence(Encoder& self, const py::str& text, const py::object& words, const Triples& given,
                  const Triples& found) {
    const CodePoints points = code_points(text);
    if (words.is_none()) {
        self.add_sentence(points, nullptr, spans_of(given), spans_of(found));
        return;
    }
    std::vector<uint8_t> starts(points.size() + 1);
    size_t position = 0;
    for (const py::handle& word : words) {
        if (position > points.size()) break;
        starts[position] = 1;
        position += py::len(word);
    }
    if (position != points.size()) throw py::value_error("the words do not make up the text");
    self.add_sentence(points, starts.data(), spans_of(given), spans_of(found));
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
             py::arg("exact_marks"), py::arg("newlines_only"), py::arg("longest_sentence"), py::keep_alive<1, 2>(),
             py::keep_alive<1, 3>())
        .def("add_text", [](Encoder& self, const py::str& text) { self.add_text(code_points(text)); })
        .def("add_sentence", &add_sentence, py::arg("text"), py::arg("words"), py::arg("given"), py::arg("found"))
        .def("end_document", &Encoder::end_document)
        .def("take", &take);
}

}  // namespace efs
