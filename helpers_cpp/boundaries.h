// Word, phrase and entity boundaries of one sentence, before it is tokenized.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "unicode.h"

namespace efs {

struct Span {
    uint32_t start;
    uint32_t end;
    int code;  // spans.py, KIND_CODES
};

// Numbers of spans.py.
constexpr uint8_t WORD_START = 1, PHRASE_START = 2, ENTITY_START = 4;
constexpr int TYPE_SHIFT = 4, PHRASE_CODE = 7, WORD_CODE = 8;

// What is known about each position between the n characters of a sentence; see encoding.py, Boundaries.
struct Boundaries {
    std::vector<uint8_t> word_start, span_edge;  // [n + 1]
    std::vector<int8_t> phrase;                  // [n + 1]
    std::vector<int32_t> entity;                 // [n]
    std::vector<int> types;                      // of each entity, from 1
    bool words_only = true;                      // without spans only word_start is used

    void reset(size_t length);  // the caller then fills word_start[0, length)
    void apply(const std::vector<Span>& annotated, const std::vector<Span>& detected);

private:
    void set_phrase(uint32_t start, uint32_t end);
    bool inside_entity(uint32_t position) const;
};

// The set of words of one sentence, for PaddleNLP's rule.
class WordSet {
public:
    void fill(CodePointView text, const Boundaries& known);
    bool contains(CodePointView word) const;
    size_t max_length_from(char32_t c) const;  // upper limit of the length of words that start with c
    bool empty() const { return used_ == 0; }

private:
    struct Slot {
        uint32_t sentence = 0, start = 0, length = 0;
    };
    static uint64_t hash(CodePointView word);
    static constexpr size_t MAX_TRACKED_LENGTH = 31;
    static uint32_t length_bit(size_t length) { return 1u << std::min(length, MAX_TRACKED_LENGTH); }
    std::vector<Slot> slots_{64};
    std::array<uint32_t, 256> lengths_{};  // bits of word lengths, by the last byte of the first character
    CodePointView text_;
    uint32_t sentence_ = 0;
    size_t used_ = 0;
};

}  // namespace efs
