#include "segment.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "helpers.h"

namespace py = pybind11;

namespace efs {
namespace {

constexpr double MINUS_INFINITY = -std::numeric_limits<double>::infinity();
enum State { B, E, M, S };  // alphabetical: the later letter wins a tie
constexpr State PREVIOUS[4][2] = {{E, S}, {B, M}, {B, M}, {E, S}};

bool is_han(char32_t c) { return c >= FIRST_HAN && c <= LAST_HAN; }

bool is_in_block(char32_t c) {
    if (is_han(c)) return true;
    return is_ascii_letter_or_digit(c) || c == U'+' || c == U'#' || c == U'&' || c == U'.' || c == U'_' || c == U'%' ||
           c == U'-';
}

bool is_digit(char32_t c) { return c >= U'0' && c <= U'9'; }

}  // namespace

Segmenter::Segmenter(const CodePoints& dictionary, HmmTables hmm)
    : frequencies_(trie_.size(), NOT_A_PREFIX), hmm_(std::move(hmm)) {
    if (hmm_.emission.size() != HAN_COUNT) throw py::value_error("emission table of the wrong size");
    size_t line_start = 0, number = 0;
    while (line_start < dictionary.size()) {
        size_t line_end = dictionary.find(U'\n', line_start);
        if (line_end == CodePoints::npos) line_end = dictionary.size();
        ++number;
        CodePointView line(dictionary.data() + line_start, line_end - line_start);
        line_start = line_end + 1;
        const size_t space = line.find(U' ');
        if (line.empty() || line == U"\r") continue;
        int64_t frequency = 0;
        bool valid = space != CodePointView::npos && space > 0 && space + 1 < line.size() && is_digit(line[space + 1]);
        for (size_t i = space + 1; valid && i < line.size() && is_digit(line[i]); ++i)
            frequency = frequency * 10 + static_cast<int64_t>(line[i] - U'0');
        if (!valid || frequency > (int64_t{1} << 52))
            throw py::value_error("line " + std::to_string(number) + " is not: word frequency tag");
        insert(line.substr(0, space), frequency);
    }
    if (total_ <= 0) throw py::value_error("the dictionary has no words");
}

void Segmenter::insert(CodePointView word, int64_t frequency) {
    const uint32_t node = trie_.make_node(word);
    frequencies_.resize(trie_.size(), PREFIX_ONLY);
    int64_t& first = frequencies_[trie_.find(word.substr(0, 1))];
    first = std::max(first, PREFIX_ONLY);
    frequencies_[node] = frequency;
    total_ += frequency;
    has_weights_ = false;
}

void Segmenter::add_word(const CodePoints& word, int64_t frequency, int type) {
    if (word.empty()) throw py::value_error("a word needs at least one character");
    insert(word, frequency);
    if (frequency == 0) always_split_.insert(word);
    if (type != 0) types_[word] = type;
}

std::optional<int64_t> Segmenter::frequency(CodePointView word) const {
    const uint32_t node = trie_.find(word);
    if (node == 0 || frequencies_[node] == NOT_A_PREFIX) return std::nullopt;
    return std::max<int64_t>(frequencies_[node], 0);
}

bool Segmenter::is_word(CodePointView text, const Trie::Entry* pairs) const {
    Trie::Entry entry = pairs[0];
    for (size_t i = 2; i < text.size() && entry.node != 0; ++i)
        entry = Trie::may_continue(entry, text[i]) ? trie_.next(entry.node, text[i]) : Trie::Entry{};
    return !std::isnan(entry.weight);
}

int Segmenter::type_of(CodePointView word) const {
    const auto found = types_.find(CodePoints(word));
    return found == types_.end() ? 0 : found->second;
}

void Segmenter::compute_weights() {
    const double log_total = std::log(static_cast<double>(total_));
    trie_.set_weights(frequencies_, log_total);
    unknown_weight_ = 0.0 - log_total;
    has_weights_ = true;
}

// The entries of all pairs of adjacent characters: first all are prefetched, then all are read.
void Segmenter::look_up_pairs(CodePointView text) {
    const size_t n = text.size();
    if (pairs_.size() < n) pairs_.resize(n);
    for (size_t i = 0; i + 1 < n; ++i) {
        const bool may_start = trie_.may_start(text[i], text[i + 1]);
        trie_.prefetch(Trie::direct_node(text[i]), text[i + 1], may_start);
        pairs_[i].node = may_start;
    }
    for (size_t i = 0; i + 1 < n; ++i) {
        pairs_[i] = pairs_[i].node ? trie_.second(text[i], text[i + 1]) : Trie::Entry{};
        if (i + 2 < n && Trie::may_continue(pairs_[i], text[i + 2])) trie_.prefetch(pairs_[i].node, text[i + 2]);
    }
    if (n > 0) pairs_[n - 1] = {};
}

// ends_[i] = the end of the word that starts at i on the most probable path; the longer word wins a tie.
// `pairs` are the entries of the block's pairs of adjacent characters.
void Segmenter::find_best_path(CodePointView block, const Trie::Entry* pairs) {
    const size_t n = block.size();
    if (ends_.size() < n) {
        scores_.resize(n + 1);
        ends_.resize(n);
    }
    scores_[n] = 0.0;
    for (size_t start = n; start-- > 0;) {
        double best = MINUS_INFINITY;
        size_t best_end = 0;
        const auto take_better = [&](double weight, size_t end) {
            const double score = weight + scores_[end];
            if (score >= best) {  // false for the NAN of what is not a word
                best = score;
                best_end = end;
            }
        };
        take_better(trie_.first_weight(block[start]), start + 1);
        size_t end = start + 2;
        for (Trie::Entry entry = pairs[start]; entry.node != 0 && end <= n; ++end) {
            take_better(entry.weight, end);
            if (end == n || !Trie::may_continue(entry, block[end])) break;
            entry = trie_.next(entry.node, block[end]);
        }
        if (best_end == 0) {
            best = unknown_weight_ + scores_[start + 1];
            best_end = start + 1;
        }
        scores_[start] = best;
        ends_[start] = static_cast<uint32_t>(best_end);
    }
}

void Segmenter::cut_block(CodePointView block, const Trie::Entry* pairs, uint8_t* starts) {
    find_best_path(block, pairs);
    const size_t n = block.size();
    for (size_t start = 0; start < n;) {
        if (ends_[start] - start > 1) {
            starts[start] = 1;
            start = ends_[start];
            continue;
        }
        size_t end = start;
        while (end < n && ends_[end] - end == 1) ++end;
        cut_singles(block.substr(start, end - start), pairs + start, starts + start);
        start = end;
    }
}

void Segmenter::cut_block_without_hmm(CodePointView block, const Trie::Entry* pairs, uint8_t* starts) {
    find_best_path(block, pairs);
    bool in_letters = false;
    for (size_t start = 0; start < block.size(); start = ends_[start]) {
        const bool letter = ends_[start] - start == 1 && is_ascii_letter_or_digit(block[start]);
        starts[start] = !(letter && in_letters);
        in_letters = letter;
    }
}

void Segmenter::cut_singles(CodePointView singles, const Trie::Entry* pairs, uint8_t* starts) {
    const size_t n = singles.size();
    if (n <= 1 || is_word(singles, pairs)) {
        std::fill_n(starts, n, uint8_t{1});
        return;
    }
    for (size_t i = 0; i < n;) {
        size_t end = i + 1;
        starts[i] = 1;
        if (is_han(singles[i])) {
            while (end < n && is_han(singles[end])) ++end;
            viterbi(singles.substr(i, end - i), starts + i);
        } else if (is_ascii_letter_or_digit(singles[i])) {  // a name or a number: letters and digits, .digits, %
            while (end < n && is_ascii_letter_or_digit(singles[end])) ++end;
            if (end + 1 < n && singles[end] == U'.' && is_digit(singles[end + 1])) {
                end += 2;
                while (end < n && is_digit(singles[end])) ++end;
            }
            if (end < n && singles[end] == U'%') ++end;
        } else {
            while (end < n && !is_han(singles[end]) && !is_ascii_letter_or_digit(singles[end])) ++end;
        }
        i = end;
    }
}

void Segmenter::viterbi(CodePointView text, uint8_t* starts) {
    const size_t n = text.size();
    backpointers_.resize(n);
    const std::array<double, 4>* emitted = &hmm_.emission[text[0] - FIRST_HAN];
    std::array<double, 4> scores, row;
    for (int state = B; state <= S; ++state) scores[state] = hmm_.start[state] + (*emitted)[state];
    for (size_t i = 1; i < n; ++i) {
        emitted = &hmm_.emission[text[i] - FIRST_HAN];
        for (int state = B; state <= S; ++state) {
            const State low = PREVIOUS[state][0], high = PREVIOUS[state][1];
            const double from_low = scores[low] + hmm_.transition[low][state] + (*emitted)[state];
            const double from_high = scores[high] + hmm_.transition[high][state] + (*emitted)[state];
            row[state] = from_high >= from_low ? from_high : from_low;
            backpointers_[i][state] = from_high >= from_low ? high : low;
        }
        scores = row;
    }
    int state = scores[S] >= scores[E] ? S : E;
    size_t end = n;
    for (size_t i = n; i-- > 0;) {
        starts[i] = state == B || state == S || i == 0;
        if (starts[i]) {
            if (!always_split_.empty() && always_split_.count(CodePoints(text.substr(i, end - i))))
                std::fill_n(starts + i, end - i, uint8_t{1});
            end = i;
        }
        if (i > 0) state = backpointers_[i][state];
    }
}

void Segmenter::mark_starts(CodePointView text, uint8_t* starts, bool hmm) {
    if (!has_weights_) compute_weights();
    const size_t n = text.size();
    std::fill_n(starts, n, uint8_t{0});
    look_up_pairs(text);
    for (size_t i = 0; i < n;) {
        size_t end = i + 1;
        if (is_in_block(text[i])) {
            while (end < n && is_in_block(text[end])) ++end;
            const CodePointView block = text.substr(i, end - i);
            hmm ? cut_block(block, &pairs_[i], starts + i) : cut_block_without_hmm(block, &pairs_[i], starts + i);
        } else {
            starts[i] = 1;
            if (text[i] == U'\r' && end < n && text[end] == U'\n') ++end;
        }
        i = end;
    }
}

}  // namespace efs

void bind_segment(py::module_& module) {
    using efs::Segmenter;
    py::class_<Segmenter>(module, "Segmenter")
        .def(py::init([](const py::str& dictionary, const std::array<double, 4>& start,
                         const std::array<std::array<double, 4>, 4>& transition,
                         const std::vector<std::array<double, 4>>& emission) {
                 return new Segmenter(efs::code_points(dictionary), {start, transition, emission});
             }),
             py::arg("dictionary"), py::arg("start"), py::arg("transition"), py::arg("emission"))
        .def("add_word",
             [](Segmenter& self, const py::str& word, int64_t frequency, int type) {
                 self.add_word(efs::code_points(word), frequency, type);
             })
        .def("frequency",
             [](const Segmenter& self, const py::str& word) { return self.frequency(efs::code_points(word)); })
        .def_property_readonly("total", &Segmenter::total)
        .def("words", [](Segmenter& self, const py::str& text, bool hmm) {
            const efs::CodePoints points = efs::code_points(text);
            std::vector<uint8_t> starts(points.size());
            self.mark_starts(points, starts.data(), hmm);
            py::list words;
            for (size_t start = 0, end = 0; start < points.size(); start = end) {
                end = start + 1;
                while (end < points.size() && !starts[end]) ++end;
                words.append(efs::to_python(efs::CodePointView(points).substr(start, end - start)));
            }
            return words;
        }, py::arg("text"), py::arg("hmm") = true);
}
