#include "wordpiece.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>

#include "encode.h"
#include "helpers.h"

namespace py = pybind11;

namespace efs {
namespace {

constexpr size_t MAX_WORD_LENGTH = 100;
constexpr size_t CACHE_SIZE = 500000;

bool is_basic_han_character(char32_t c) { return c >= 0x4E00 && c <= 0x9FA5; }

}  // namespace

WordPiece::WordPiece(std::vector<CodePoints> vocabulary, CharacterTable characters)
    : texts_(std::move(vocabulary)), characters_(std::move(characters)) {
    if (characters_.kinds.size() != 0x110000) throw py::value_error("character table of the wrong size");
    for (size_t i = 0; i < texts_.size(); ++i) ids_[texts_[i]] = static_cast<int32_t>(i);  // the last of duplicates
    unknown_ = -1;
    for (const char32_t* name : {U"[UNK]", U"[PAD]", U"[CLS]", U"[SEP]", U"[MASK]"}) {
        if (!ids_.count(name)) throw py::value_error("the vocabulary lacks a special token");
        specials_.push_back(name);
    }
    unknown_ = ids_.at(U"[UNK]");
    single_ids_.assign(0x10000, unknown_);
    for (const CodePoints& text : texts_) {
        if (text.size() == 1 && text[0] < 0x10000) single_ids_[text[0]] = ids_.at(text);
        longest_ = std::max(longest_, text.size());
        const auto continuation = ids_.find(U"##" + text);
        continuations_.push_back(continuation == ids_.end() ? -1 : continuation->second);
        has_han_.push_back(std::any_of(text.begin(), text.end(), is_basic_han_character));
        is_basic_han_.push_back(text.size() == 1 && has_han_.back());
    }
}

int32_t WordPiece::id_of(const CodePoints& token) const {
    const auto found = ids_.find(token);
    return found == ids_.end() ? unknown_ : found->second;
}

// Length of the special token at text[i], 0 if there is none.
size_t WordPiece::special_at(CodePointView text, size_t i, int32_t& id) const {
    for (const CodePoints& special : specials_)
        if (text.compare(i, special.size(), special) == 0) {
            id = ids_.at(special);
            return special.size();
        }
    return 0;
}

void WordPiece::tokenize(CodePointView text, bool specials, std::vector<Token>& out) {
    for (size_t i = 0; i < text.size(); ++i) {
        int32_t id = 0;
        if (specials && text[i] == U'[') {
            if (const size_t length = special_at(text, i, id)) {
                close_run(out);
                out.push_back({id, static_cast<uint32_t>(i), static_cast<uint32_t>(i + length), false});
                i += length - 1;
                continue;
            }
        }
        add_character(text[i], static_cast<uint32_t>(i), out);
    }
    close_run(out);
}

void WordPiece::add_character(char32_t c, uint32_t position, std::vector<Token>& out) {
    if (c >= characters_.kinds.size()) return;
    switch (static_cast<CharacterClass>(characters_.kinds[c])) {
        case DROPPED:
            break;
        case SPACE:
            close_run(out);
            break;
        case HAN:
        case PUNCTUATION:
            close_run(out);
            add_single(c, position, out);
            break;
        case LETTER:
            run_.push_back({{c, LETTER, 0, false}, position});
            break;
        case EXPANDED:
            for (const CharacterPart& part : characters_.expansions.at(c)) {
                if (part.kind == SPACE) {
                    close_run(out);
                } else if (part.kind == HAN) {
                    close_run(out);
                    add_single(part.c, position, out);
                } else {
                    run_combines_ = run_combines_ || part.combining_class != 0 || part.nonspacing;
                    run_.push_back({part, position});
                }
            }
    }
}

void WordPiece::add_single(char32_t c, uint32_t position, std::vector<Token>& out) {
    const int32_t id = c < single_ids_.size() ? single_ids_[c] : id_of(CodePoints(1, c));
    out.push_back({id, position, position + 1, false});
}

void WordPiece::close_run(std::vector<Token>& out) {
    if (run_.empty()) return;
    if (run_combines_) order_and_strip();
    for (size_t start = 0, end; start < run_.size(); start = end) {
        end = start + 1;
        if (run_[start].part.kind == LETTER)
            while (end < run_.size() && run_[end].part.kind == LETTER) ++end;
        add_word(&run_[start], end - start, out);
    }
    run_.clear();
    run_combines_ = false;
}

// Canonical ordering of combining characters (Unicode, D109), then nonspacing marks are dropped.
void WordPiece::order_and_strip() {
    const auto less = [](const Letter& a, const Letter& b) { return a.part.combining_class < b.part.combining_class; };
    for (size_t start = 0; start < run_.size();) {
        size_t end = start;
        while (end < run_.size() && run_[end].part.combining_class != 0) ++end;
        std::stable_sort(run_.begin() + start, run_.begin() + end, less);
        start = end + 1;
    }
    run_.erase(std::remove_if(run_.begin(), run_.end(), [](const Letter& x) { return x.part.nonspacing; }), run_.end());
}

void WordPiece::add_word(const Letter* letters, size_t length, std::vector<Token>& out) {
    const auto add = [&](int32_t id, size_t from, size_t count, bool is_continuation) {
        uint32_t first = letters[from].position, last = first;
        for (size_t i = from + 1; i < from + count; ++i) {
            first = std::min(first, letters[i].position);
            last = std::max(last, letters[i].position);
        }
        out.push_back({id, first, last + 1, is_continuation});
    };
    if (length == 1) {
        const char32_t c = letters[0].part.c;
        add(c < single_ids_.size() ? single_ids_[c] : id_of(CodePoints(1, c)), 0, 1, false);
        return;
    }
    if (length > MAX_WORD_LENGTH) {
        add(unknown_, 0, length, false);
        return;
    }
    word_.resize(length);
    for (size_t i = 0; i < length; ++i) word_[i] = letters[i].part.c;
    const std::vector<Piece>& pieces = pieces_of(word_);
    if (pieces.empty()) add(unknown_, 0, length, false);
    size_t from = 0;
    for (const Piece& piece : pieces) {
        add(piece.id, from, piece.length, from > 0);
        from += piece.length;
    }
}

// Greedy longest match from the left.
const std::vector<WordPiece::Piece>& WordPiece::pieces_of(const CodePoints& word) {
    const auto known = cache_.find(word);
    if (known != cache_.end()) return known->second;
    if (cache_.size() >= CACHE_SIZE) cache_.clear();
    std::vector<Piece> pieces;
    CodePoints candidate;
    for (size_t start = 0; start < word.size();) {
        size_t end = std::min(word.size(), start + longest_);
        int32_t id = -1;
        for (; end > start; --end) {
            candidate = start > 0 ? U"##" : U"";
            candidate.append(word, start, end - start);
            const auto found = ids_.find(candidate);
            if (found != ids_.end()) {
                id = found->second;
                break;
            }
        }
        if (id < 0) {
            pieces.clear();
            break;
        }
        pieces.push_back({id, static_cast<uint32_t>(end - start)});
        start = end;
    }
    return cache_[word] = std::move(pieces);
}

}  // namespace efs

namespace {

using Bytes = py::array_t<uint8_t, py::array::c_style | py::array::forcecast>;
using Part = std::tuple<uint32_t, int, int, bool>;  // character, class, combining class, nonspacing

efs::WordPiece* make_wordpiece(const py::list& vocabulary, const Bytes& kinds,
                               const std::unordered_map<uint32_t, std::vector<Part>>& expansions) {
    std::vector<efs::CodePoints> tokens;
    for (const py::handle& token : vocabulary) tokens.push_back(efs::code_points(token));
    efs::CharacterTable table;
    table.kinds.assign(kinds.data(), kinds.data() + kinds.size());
    for (size_t c = 0; c < table.kinds.size(); ++c)
        if (table.kinds[c] > efs::EXPANDED || (table.kinds[c] == efs::EXPANDED && !expansions.count(static_cast<uint32_t>(c))))
            throw py::value_error("a character has no class or no expansion");
    for (const auto& [c, parts] : expansions)
        for (const auto& [part, kind, combining, nonspacing] : parts)
            table.expansions[c].push_back({part, static_cast<efs::CharacterClass>(kind),
                                           static_cast<uint8_t>(combining), nonspacing});
    for (const auto& [c, parts] : expansions) table.expansions[c];  // also the empty ones
    return new efs::WordPiece(std::move(tokens), std::move(table));
}

}  // namespace

void bind_wordpiece(py::module_& module) {
    py::class_<efs::WordPiece>(module, "WordPiece")
        .def(py::init(&make_wordpiece), py::arg("vocabulary"), py::arg("kinds"), py::arg("expansions"))
        .def("tokenize", [](efs::WordPiece& self, const py::str& text, bool specials) {
            const efs::CodePoints points = efs::code_points(text);
            std::vector<efs::Token> tokens;
            self.tokenize(points, specials, tokens);
            py::list out;
            for (const efs::Token& token : tokens) out.append(py::make_tuple(token.id, token.start, token.end));
            return out;
        }, py::arg("text"), py::arg("special_tokens") = true);
    efs::bind_encoder(module);
}
