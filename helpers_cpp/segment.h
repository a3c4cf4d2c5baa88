// Text -> words: the best path through a dictionary, and a hidden Markov model for runs of single characters.
// The same cuts as ernie_from_scratch/text/segmentation.py, DictionarySegmenter.
#pragma once

#include <array>
#include <cmath>
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

// Beginnings of words by their characters, in one hash table from (node, character) to the next node.
class Trie {
public:
    struct Place {
        uint32_t node = 0;    // 0 = no word begins like this
        double weight = NAN;  // of the word that ends here; NAN = none does
    };
    Trie();
    uint32_t make_node(CodePointView text);  // the node of a text, made when it is not there
    uint32_t find(CodePointView text) const;
    size_t size() const { return nodes_ + 1; }  // nodes are numbered 1 to size() - 1
    void set_weights(const std::vector<double>& by_node);

    Place first(char32_t c) const { return c < roots_.size() ? roots_[c] : Place{}; }
    Place next(uint32_t node, char32_t c) const;

    // Whether next(node, c) may be there; most that are not are told without a look at the table.
    bool may_have(uint32_t node, char32_t c) const {
        const uint64_t bit = filter_bit(key_of(node, c));
        return filter_[bit >> 6] >> (bit & 63) & 1;
    }
    void prefetch(uint32_t node, char32_t c) const {
        __builtin_prefetch(&slots_[index_of(key_of(node, c))]);
    }

private:
    static constexpr int FILTER_BITS = 22;
    static constexpr int NODE_BITS = 21;  // a slot holds node and character (21 bits), and the next node
    struct Slot {
        uint64_t key = 0;  // 0 = free
        uint32_t node() const { return static_cast<uint32_t>(key & ((1u << NODE_BITS) - 1)); }
        bool has(uint64_t other) const { return key >> NODE_BITS == other >> NODE_BITS; }
        double weight = NAN;
    };
    static uint64_t key_of(uint32_t node, char32_t c) {
        return (static_cast<uint64_t>(node) << 21 | c) << NODE_BITS;
    }
    size_t index_of(uint64_t key) const { return ((key >> NODE_BITS) * 0x9E3779B97F4A7C15ull) >> shift_; }
    static uint64_t filter_bit(uint64_t key) {
        return ((key >> NODE_BITS) * 0xD6E8FEB86659FD93ull) >> (64 - FILTER_BITS);
    }
    Slot& slot(uint64_t key);
    uint32_t new_node();
    void grow();

    std::vector<Place> roots_;
    std::vector<Slot> slots_;
    std::vector<uint64_t> filter_;  // a bit per hash of a key
    int shift_ = 64 - 12;           // 64 - log2 of the number of slots
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

    bool is_word(CodePointView text) const;

    static constexpr int64_t NO_WORD = -1;  // only the beginning of words
    Trie trie_;
    std::vector<int64_t> frequencies_{NO_WORD};  // by node
    double unknown_weight_ = 0.0;                // of a character that is no word
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
