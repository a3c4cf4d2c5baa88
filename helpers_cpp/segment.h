// Text -> words: the best path through a dictionary, and a hidden Markov model for runs of single characters.
// The same cuts as ernie_from_scratch/text/segmenters/segmenter.py, DictionarySegmenter.
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
// The dictionary is larger than the caches, so a text's look-ups are told from bits where possible: a filter over
// pairs of characters, and in each node 32 bits for what goes on from there.
class Trie {
public:
    struct Place {
        uint32_t node = 0;      // 0 = no word begins like this
        uint32_t children = 0;  // a bit for each character that may come next, by child_bit
        double weight = NAN;    // of the word that ends here; NAN = none does
    };
    Trie();
    uint32_t make_node(CodePointView text);  // the node of a text, made when it is not there
    uint32_t find(CodePointView text) const;
    size_t size() const { return nodes_; }  // nodes have smaller numbers
    void set_weights(const std::vector<int64_t>& frequencies, double log_total);  // by node

    double first_weight(char32_t c) const { return c < DIRECT ? first_weights_[c] : next(0, c).weight; }
    Place next(uint32_t node, char32_t c) const;
    Place second(char32_t c, char32_t d) const { return next(first_node(c), d); }

    // Whether there may be words that begin with c d; and whether next(place.node, c) may be there.
    bool may_begin(char32_t c, char32_t d) const {
        const uint64_t bit = filter_bit(c, d);
        return filter_[bit >> 6] >> (bit & 63) & 1;
    }
    static bool may_go_on(const Place& place, char32_t c) { return place.children & child_bit(c); }
    // next(node, c) is to be read soon, if `wanted` (as a number, so that no branch has to be guessed).
    void prefetch(uint32_t node, char32_t c, bool wanted = true) const {
        __builtin_prefetch(&slots_[index_of(key_of(node, c)) * wanted]);
    }
    static uint32_t direct_node(char32_t c) { return c + 1; }  // of characters below DIRECT

private:
    static constexpr char32_t DIRECT = 0x10000;  // characters below are nodes without a look: c + 1
    static constexpr int FILTER_BITS = 21;
    static constexpr int NODE_BITS = 21;  // a slot holds node and character (21 bits), and the next node
    struct Slot {
        uint64_t key = 0;       // 0 = free
        uint32_t children = 0;
        uint32_t weight = 0;    // its number in weights_
        uint32_t node() const { return static_cast<uint32_t>(key & ((1u << NODE_BITS) - 1)); }
        bool has(uint64_t other) const { return key >> NODE_BITS == other >> NODE_BITS; }
    };
    static uint64_t key_of(uint32_t node, char32_t c) {
        return (static_cast<uint64_t>(node) << 21 | c) << NODE_BITS;
    }
    size_t index_of(uint64_t key) const { return ((key >> NODE_BITS) * 0x9E3779B97F4A7C15ull) >> shift_; }
    static uint64_t filter_bit(char32_t c, char32_t d) {
        return ((static_cast<uint64_t>(c) << 21 | d) * 0xD6E8FEB86659FD93ull) >> (64 - FILTER_BITS);
    }
    static uint32_t child_bit(char32_t c) { return 1u << (c * 0x9E3779B1u >> 27); }
    uint32_t first_node(char32_t c) const { return c < DIRECT ? direct_node(c) : next(0, c).node; }
    uint32_t make_child(uint32_t node, char32_t c);
    Slot& slot(uint64_t key);
    void grow();

    std::vector<double> first_weights_;  // [DIRECT]
    std::vector<Slot> slots_;
    std::vector<uint64_t> filter_;    // a bit per hash of a pair
    std::vector<double> weights_{NAN};  // the different ones
    int shift_ = 64 - 12;             // 64 - log2 of the number of slots
    size_t used_ = 0;
    uint32_t nodes_ = DIRECT + 1;
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
    void look_up(CodePointView text);
    void find_best_path(CodePointView block, const Trie::Place* pairs);
    void cut_block(CodePointView block, const Trie::Place* pairs, uint8_t* starts);
    void cut_block_without_hmm(CodePointView block, const Trie::Place* pairs, uint8_t* starts);
    void cut_singles(CodePointView singles, const Trie::Place* pairs, uint8_t* starts);
    void viterbi(CodePointView text, uint8_t* starts);

    bool is_word(CodePointView text, const Trie::Place* pairs) const;

    static constexpr int64_t NOTHING = -2, BEGINNING = -1;  // no word begins like this; only the beginning of words
    Trie trie_;
    std::vector<int64_t> frequencies_;           // by node
    double unknown_weight_ = 0.0;                // of a character that is no word
    int64_t total_ = 0;
    bool weighed_ = false;
    HmmTables hmm_;
    std::unordered_set<CodePoints> forced_apart_;
    std::unordered_map<CodePoints, int> types_;

    // work space, kept between calls
    std::vector<Trie::Place> pairs_;  // of each character and the next
    std::vector<double> scores_;
    std::vector<uint32_t> ends_;
    std::vector<std::array<uint8_t, 4>> came_from_;
};

}  // namespace efs
