#include "segment.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "helpers.h"

namespace py = pybind11;

namespace efs {
namespace {

constexpr size_t WINDOW = 64;  // characters whose places in the dictionary are fetched into the cache together
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

Trie::Trie() : roots_(0x10000), slots_(1 << 12), filter_((size_t{1} << FILTER_BITS) / 64) {}

Trie::Slot& Trie::slot(uint64_t key) {
    size_t i = index_of(key);
    while (slots_[i].key != 0 && !slots_[i].has(key)) i = (i + 1) & (slots_.size() - 1);
    return slots_[i];
}

void Trie::grow() {
    std::vector<Slot> old(slots_.size() * 2);
    old.swap(slots_);
    --shift_;
    for (const Slot& one : old)
        if (one.key != 0) slot(one.key) = one;
}

uint32_t Trie::new_node() {
    if (nodes_ + 1 >= 1u << NODE_BITS) throw py::value_error("too many words for one dictionary");
    return ++nodes_;
}

Trie::Place Trie::next(uint32_t node, char32_t c) const {
    const uint64_t key = key_of(node, c);
    for (size_t i = index_of(key); slots_[i].key != 0; i = (i + 1) & (slots_.size() - 1))
        if (slots_[i].has(key)) return {slots_[i].node(), slots_[i].weight};
    return {};
}

uint32_t Trie::make_node(CodePointView text) {
    if (text[0] >= roots_.size()) roots_.resize(text[0] + 1);
    Place& root = roots_[text[0]];
    if (root.node == 0) root.node = new_node();
    uint32_t node = root.node;
    for (char32_t c : text.substr(1)) {
        const uint64_t key = key_of(node, c);
        if ((used_ + 1) * 2 > slots_.size()) grow();
        Slot& one = slot(key);
        if (one.key == 0) {
            one.key = key | new_node();
            ++used_;
            const uint64_t bit = filter_bit(key);
            filter_[bit >> 6] |= uint64_t{1} << (bit & 63);
        }
        node = one.node();
    }
    return node;
}

uint32_t Trie::find(CodePointView text) const {
    if (text.empty()) return 0;
    uint32_t node = first(text[0]).node;
    for (size_t i = 1; i < text.size() && node != 0; ++i) node = next(node, text[i]).node;
    return node;
}

void Trie::set_weights(const std::vector<double>& by_node) {
    for (Place& root : roots_)
        if (root.node != 0) root.weight = by_node[root.node];
    for (Slot& one : slots_)
        if (one.key != 0) one.weight = by_node[one.node()];
}

Segmenter::Segmenter(const CodePoints& dictionary, HmmTables hmm) : hmm_(std::move(hmm)) {
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
        bool good = space != CodePointView::npos && space > 0 && space + 1 < line.size() && is_digit(line[space + 1]);
        for (size_t i = space + 1; good && i < line.size() && is_digit(line[i]); ++i)
            frequency = frequency * 10 + static_cast<int64_t>(line[i] - U'0');
        if (!good || frequency > (int64_t{1} << 52))
            throw py::value_error("line " + std::to_string(number) + " is not: word frequency tag");
        insert(line.substr(0, space), frequency);
    }
    if (total_ <= 0) throw py::value_error("the dictionary has no words");
}

void Segmenter::insert(CodePointView word, int64_t frequency) {
    const uint32_t node = trie_.make_node(word);
    frequencies_.resize(trie_.size(), NO_WORD);
    frequencies_[node] = frequency;
    total_ += frequency;
    weighed_ = false;
}

void Segmenter::add_word(const CodePoints& word, int64_t frequency, int type) {
    if (word.empty()) throw py::value_error("a word has at least one character");
    insert(word, frequency);
    if (frequency == 0) forced_apart_.insert(word);
    if (type != 0) types_[word] = type;
}

std::optional<int64_t> Segmenter::frequency(CodePointView word) const {
    const uint32_t node = trie_.find(word);
    if (node == 0) return std::nullopt;
    return std::max<int64_t>(frequencies_[node], 0);
}

bool Segmenter::is_word(CodePointView text) const { return frequencies_[trie_.find(text)] > 0; }

int Segmenter::type_of(CodePointView word) const {
    const auto found = types_.find(CodePoints(word));
    return found == types_.end() ? 0 : found->second;
}

void Segmenter::weigh() {
    const double log_total = std::log(static_cast<double>(total_));
    std::vector<double> weights(frequencies_.size(), NAN);
    for (size_t node = 1; node < weights.size(); ++node)
        if (frequencies_[node] > 0) weights[node] = std::log(static_cast<double>(frequencies_[node])) - log_total;
    trie_.set_weights(weights);
    unknown_weight_ = 0.0 - log_total;
    weighed_ = true;
}

// ends_[i] = where the word that starts at i ends on the most probable path; the longer word wins a tie.
void Segmenter::find_best_path(CodePointView block) {
    const size_t n = block.size();
    scores_.resize(n + 1);
    ends_.resize(n);
    scores_[n] = 0.0;
    std::array<Trie::Place, WINDOW> places;
    std::array<bool, WINDOW> goes_on;
    for (size_t window_end = n; window_end > 0;) {
        const size_t window = window_end > WINDOW ? window_end - WINDOW : 0;
        for (size_t i = window; i < window_end; ++i) {  // the dictionary is out of the cache: ask for all places first
            const Trie::Place place = places[i - window] = trie_.first(block[i]);
            const bool may = place.node != 0 && i + 1 < n && trie_.may_have(place.node, block[i + 1]);
            goes_on[i - window] = may;
            if (may) trie_.prefetch(place.node, block[i + 1]);
        }
        for (size_t start = window_end; start-- > window;) {
            Trie::Place place = places[start - window];
            bool more = goes_on[start - window];
            double best = MINUS_INFINITY;
            size_t best_end = 0;
            for (size_t end = start + 1;; ++end) {
                const double score = place.weight + scores_[end];
                if (score >= best) {  // never for the NAN of what is no word
                    best = score;
                    best_end = end;
                }
                if (!more) break;
                place = trie_.next(place.node, block[end]);
                if (place.node == 0) break;
                more = end + 1 < n && trie_.may_have(place.node, block[end + 1]);
            }
            if (best_end == 0) {
                best = unknown_weight_ + scores_[start + 1];
                best_end = start + 1;
            }
            scores_[start] = best;
            ends_[start] = static_cast<uint32_t>(best_end);
        }
        window_end = window;
    }
}

void Segmenter::cut_block(CodePointView block, uint8_t* starts) {
    find_best_path(block);
    const size_t n = block.size();
    for (size_t start = 0; start < n;) {
        if (ends_[start] - start > 1) {
            starts[start] = 1;
            start = ends_[start];
            continue;
        }
        size_t end = start;
        while (end < n && ends_[end] - end == 1) ++end;
        cut_singles(block.substr(start, end - start), starts + start);
        start = end;
    }
}

void Segmenter::cut_block_without_hmm(CodePointView block, uint8_t* starts) {
    find_best_path(block);
    bool in_letters = false;
    for (size_t start = 0; start < block.size(); start = ends_[start]) {
        const bool letter = ends_[start] - start == 1 && is_ascii_letter_or_digit(block[start]);
        starts[start] = !(letter && in_letters);
        in_letters = letter;
    }
}

void Segmenter::cut_singles(CodePointView singles, uint8_t* starts) {
    const size_t n = singles.size();
    if (n <= 1 || is_word(singles)) {
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
    came_from_.resize(n);
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
            came_from_[i][state] = from_high >= from_low ? high : low;
        }
        scores = row;
    }
    int state = scores[S] >= scores[E] ? S : E;
    size_t end = n;
    for (size_t i = n; i-- > 0;) {
        starts[i] = state == B || state == S || i == 0;
        if (starts[i]) {
            if (!forced_apart_.empty() && forced_apart_.count(CodePoints(text.substr(i, end - i))))
                std::fill_n(starts + i, end - i, uint8_t{1});
            end = i;
        }
        if (i > 0) state = came_from_[i][state];
    }
}

void Segmenter::mark_starts(CodePointView text, uint8_t* starts, bool hmm) {
    if (!weighed_) weigh();
    const size_t n = text.size();
    std::fill_n(starts, n, uint8_t{0});
    for (size_t i = 0; i < n;) {
        size_t end = i + 1;
        if (is_in_block(text[i])) {
            while (end < n && is_in_block(text[end])) ++end;
            const CodePointView block = text.substr(i, end - i);
            hmm ? cut_block(block, starts + i) : cut_block_without_hmm(block, starts + i);
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
