// Sentences -> token ids and span bits, collected for whole documents.
// The same arrays as ernie_from_scratch/text/corpus/encoding.py, PythonEncoder.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "segment.h"
#include "wordpiece.h"

namespace efs {

struct Span {
    uint32_t start;
    uint32_t end;
    int code;  // spans.py, KIND_CODES
};

// Numbers of spans.py.
constexpr uint8_t WORD_START = 1, PHRASE_START = 2, ENTITY_START = 4;
constexpr int TYPE_SHIFT = 4, PHRASE_CODE = 7, WORD_CODE = 8;

// What is known of each position between two characters of a sentence; see encode.py, Boundaries.
struct Boundaries {
    std::vector<uint8_t> soft, hard;  // [n + 1]
    std::vector<int8_t> phrase;       // [n + 1]
    std::vector<int32_t> entity;      // [n]
    std::vector<int> types;           // of each entity, from 1
    bool plain = true;                // no span: only `soft` is filled

    void reset(size_t length);  // afterwards soft[0, length) is to be filled in
    void apply(const std::vector<Span>& given, const std::vector<Span>& found);

private:
    void set_phrase(uint32_t start, uint32_t end);
    bool inside_entity(uint32_t position) const;
};

// The words of one sentence as a set, for PaddleNLP's rule.
class WordSet {
public:
    void fill(CodePointView text, const Boundaries& known);
    bool contains(CodePointView word) const;
    size_t longest_from(char32_t c) const;  // no word that begins with c has more characters
    bool empty() const { return used_ == 0; }

private:
    struct Slot {
        uint32_t sentence = 0, start = 0, length = 0;
    };
    static uint64_t hash(CodePointView word);
    static constexpr size_t LONGEST_TOLD = 31;
    static uint32_t length_bit(size_t length) { return 1u << std::min(length, LONGEST_TOLD); }
    std::vector<Slot> slots_{64};
    std::array<uint32_t, 256> lengths_{};  // of the words by their first character's last byte
    CodePointView text_;
    uint32_t sentence_ = 0;
    size_t used_ = 0;
};

class Encoder {
public:
    Encoder(WordPiece& pieces, Segmenter* segmenter, bool exact_marks, bool newlines_only, int longest_sentence);

    void add_text(CodePointView text);
    // `starts` marks the words (a byte per character); without it the encoder's own segmenter does.
    void add_sentence(CodePointView text, const uint8_t* starts, const std::vector<Span>& given,
                      const std::vector<Span>& found);
    void end_document();

    std::vector<int32_t> ids;
    std::vector<uint8_t> bits;
    std::vector<int32_t> lens, docs;
    int long_sentences = 0;

    void clear();

private:
    void mark_words(CodePointView text);
    void encode(CodePointView text);
    void mark_by_set(CodePointView text);
    void close_sentence(size_t first);

    WordPiece& pieces_;
    Segmenter* segmenter_;
    bool exact_, newlines_only_;
    size_t longest_;
    int sentences_ = 0;
    Boundaries known_;
    WordSet words_;
    std::vector<Token> tokens_;
    std::vector<uint8_t> marked_;
    std::vector<Span> typed_;
    CodePoints joined_;
};

void bind_encoder(pybind11::module_& module);

}  // namespace efs
