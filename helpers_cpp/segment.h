// Text -> words: the best path of dictionary words, and a hidden Markov model for runs of single characters.
// Equal to those of ernie_from_scratch/text/segmenters/dictionary.py, DictionarySegmenter.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "trie.h"
#include "unicode.h"

namespace efs {

constexpr char32_t FIRST_HAN = 0x4E00;
constexpr char32_t LAST_HAN = 0x9FD5;  // of jieba's word blocks
constexpr int HAN_COUNT = LAST_HAN - FIRST_HAN + 1;

// Log probabilities of the states B, E, M, S.
struct HmmTables {
    std::array<double, 4> start;
    std::array<std::array<double, 4>, 4> transition;
    std::vector<std::array<double, 4>> emission;  // [HAN_COUNT]
};

class Segmenter {
public:
    Segmenter(const CodePoints& dictionary, HmmTables hmm);

    void add_word(const CodePoints& word, int64_t frequency, int type);
    std::optional<int64_t> frequency(CodePointView word) const;
    int64_t total() const { return total_; }
    bool has_types() const { return !types_.empty(); }
    int type_of(CodePointView word) const;

    // starts[i] = 1 where a word starts, 0 elsewhere; starts must hold text.size() bytes.
    void mark_starts(CodePointView text, uint8_t* starts, bool hmm = true);

private:
    void insert(CodePointView word, int64_t frequency);
    void compute_weights();
    void look_up_pairs(CodePointView text);
    void find_best_path(CodePointView block, const Trie::Entry* pairs);
    void cut_block(CodePointView block, const Trie::Entry* pairs, uint8_t* starts);
    void cut_block_without_hmm(CodePointView block, const Trie::Entry* pairs, uint8_t* starts);
    void cut_singles(CodePointView singles, const Trie::Entry* pairs, uint8_t* starts);
    void viterbi(CodePointView text, uint8_t* starts);

    bool is_word(CodePointView text, const Trie::Entry* pairs) const;

    static constexpr int64_t NOT_A_PREFIX = -2, PREFIX_ONLY = -1;  // frequencies of nodes that are not words
    Trie trie_;
    std::vector<int64_t> frequencies_;           // by node
    double unknown_weight_ = 0.0;                // of a character that is not a word
    int64_t total_ = 0;
    bool has_weights_ = false;
    HmmTables hmm_;
    std::unordered_set<CodePoints> always_split_;
    std::unordered_map<CodePoints, int> types_;

    // buffers, reused between calls
    std::vector<Trie::Entry> pairs_;  // of each character and the next
    std::vector<double> scores_;
    std::vector<uint32_t> ends_;
    std::vector<std::array<uint8_t, 4>> backpointers_;
};

}  // namespace efs
