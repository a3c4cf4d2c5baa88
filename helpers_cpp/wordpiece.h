// Text -> tokens: BERT's basic tokenization and WordPiece, with offsets.
// Equal to those of ernie_from_scratch/text/tokenizers/wordpiece.py, ErnieTokenizer.pieces.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "unicode.h"

namespace efs {

// Classes of basic.py, and EXPANDED for characters with an expansion (native_encoding.py).
enum CharacterClass : uint8_t { DROPPED, SPACE, HAN, PUNCTUATION, LETTER, EXPANDED };

struct CharacterPart {  // one character of the lower case and canonical decomposition of another
    char32_t c;
    CharacterClass kind;
    uint8_t combining_class;
    bool nonspacing;  // category Mn: dropped after canonical ordering
};

struct CharacterTable {
    std::vector<uint8_t> kinds;  // [0x110000]
    std::unordered_map<char32_t, std::vector<CharacterPart>> expansions;
};

struct Token {
    int32_t id;
    uint32_t start;  // first character of the text
    uint32_t end;    // one past the last character
    bool is_continuation;  // continues the word of the previous token: a ## form
};

class WordPiece {
public:
    WordPiece(std::vector<CodePoints> vocabulary, CharacterTable characters);

    // With `specials`, special tokens such as [MASK] in the text are kept.
    void tokenize(CodePointView text, bool specials, std::vector<Token>& out);

    int32_t size() const { return static_cast<int32_t>(texts_.size()); }
    const CodePoints& text_of(int32_t id) const { return texts_[id]; }
    bool has_han(int32_t id) const { return has_han_[id]; }            // contains one of U+4E00 to U+9FA5
    bool is_basic_han(int32_t id) const { return is_basic_han_[id]; }  // is one of U+4E00 to U+9FA5
    int32_t continuation_of(int32_t id) const { return continuations_[id]; }  // id of "##token", -1 if none

private:
    struct Letter {
        CharacterPart part;
        uint32_t position;
    };
    struct Piece {
        int32_t id;
        uint32_t length;  // characters
    };
    int32_t id_of(const CodePoints& token) const;
    size_t special_at(CodePointView text, size_t i, int32_t& id) const;
    void add_character(char32_t c, uint32_t position, std::vector<Token>& out);
    void add_single(char32_t c, uint32_t position, std::vector<Token>& out);
    void close_run(std::vector<Token>& out);
    void order_and_strip();
    void add_word(const Letter* letters, size_t length, std::vector<Token>& out);
    const std::vector<Piece>& pieces_of(const CodePoints& word);  // empty = unknown

    std::vector<CodePoints> texts_;
    std::unordered_map<CodePoints, int32_t> ids_;
    std::vector<int32_t> single_ids_;  // of one-character tokens, by character; [0x10000]
    std::vector<int32_t> continuations_;
    std::vector<uint8_t> has_han_, is_basic_han_;
    std::vector<CodePoints> specials_;
    CharacterTable characters_;
    int32_t unknown_;
    size_t longest_ = 0;
    std::unordered_map<CodePoints, std::vector<Piece>> cache_;
    std::vector<Letter> run_;
    bool run_combines_ = false;
    CodePoints word_;
};

}  // namespace efs
