// Text -> words: the best path through a dictionary, and a hidden Markov model for runs of single characters.
// The same cuts as ernie_from_scratch/text/segmentation.py, DictionarySegmenter.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "unicode.h"

namespace efs {

constexpr char32_t FIRST_HAN = 0x4E00;
constexpr char32_t LAST_HAN = 0x9FD5;  // of jieba's word blocks
constexpr int HAN_COUNT = LAST_HAN - FIRST_HAN + 1;

// Words by their characters. A node is a beginning of a word; word 0 = none ends here.
class Trie {
public:
    static constexpr int FILTER_BITS = 22;
    struct Place {
        uint32_t node = 0;  // 0 = nothing goes on from here
        uint32_t word = 0;
    };
    Trie();
    uint32_t& word_at(CodePointView text);  // makes the path
    Place find(CodePointView text) const;   // node 0 when the text begins no word
    Place first(char32_t c) const { return c < roots_.size() ? roots_[c] : Place{}; }
    Place next(uint32_t node, char32_t c) const;
    void prefetch(char32_t c, char32_t then) const {
        __builtin_prefetch(&slots_[hash(key_of(first(c).node, then)) & (slots_.size() - 1)]);
    }

private:
    struct Slot {
        uint64_t key = 0;  // node and character; 0 = free
        Place place;
    };
    Slot& slot(uint64_t key);
    void grow();
    static uint64_t key_of(uint32_t node, char32_t c) { return (static_cast<uint64_t>(node) << 21) | c; }
    static uint64_t hash(uint64_t key) { return (key * 0x9E3779B97F4A7C15ull) >> 17; }
    bool may_have(uint64_t key) const {
        const uint64_t bit = (key * 0xD6E8FEB86659FD93ull) >> (64 - FILTER_BITS);
        return filter_[bit >> 6] >> (bit & 63) & 1;
    }

    std::vector<Place> roots_;
    std::vector<Slot> slots_;
    std::vector<uint64_t> filter_;  // a bit for the hash of each key: answers most misses without a look at the slots
    size_t used_ = 0;
    uint32_t nodes_ = 0;
};

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
    void weigh();
    void find_best_path(CodePointView block);
    void cut_block(CodePointView block, uint8_t* starts);
    void cut_block_without_hmm(CodePointView block, uint8_t* starts);
    void cut_singles(CodePointView singles, uint8_t* starts);
    void viterbi(CodePointView text, uint8_t* starts);

    Trie trie_;
    std::vector<int64_t> frequencies_{0};  // by word number
    std::vector<double> weights_{0.0};     // log(frequency) - log(total)
    int64_t total_ = 0;
    bool weighed_ = false;
    HmmTables hmm_;
    std::unordered_set<CodePoints> forced_apart_;
    std::unordered_map<CodePoints, int> types_;

    // work space, kept between calls
    std::vector<double> scores_;
    std::vector<uint32_t> ends_;
    std::vector<std::array<uint8_t, 4>> came_from_;
};

}  // namespace efs
