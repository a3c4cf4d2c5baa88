// The dictionary of the segmenter: words and their weights, found character by character.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "unicode.h"

namespace efs {

// Prefixes of words, in one hash table from (node, character) to the next node.
// The dictionary is larger than the CPU's caches, so bits save most lookups: a Bloom filter of character pairs, and
// in each node 32 bits for the characters that can follow.
class Trie {
public:
    struct Entry {
        uint32_t node = 0;      // 0 = not a prefix of a word
        uint32_t children = 0;  // a bit for each character that can follow, by child_bit
        double weight = NAN;    // of the word that ends here; NAN = none
    };
    Trie();
    uint32_t make_node(CodePointView text);  // the node of a text, created if it does not exist
    uint32_t find(CodePointView text) const;
    size_t size() const { return nodes_; }  // the numbers of nodes are below
    void set_weights(const std::vector<int64_t>& frequencies, double log_total);  // by node

    double first_weight(char32_t c) const { return c < DIRECT ? first_weights_[c] : next(0, c).weight; }
    Entry next(uint32_t node, char32_t c) const {
        const uint64_t key = key_of(node, c);
        for (size_t i = index_of(key); slots_[i].key != 0; i = (i + 1) & (slots_.size() - 1))
            if (slots_[i].has(key)) return {slots_[i].node(), slots_[i].children, weights_[slots_[i].weight]};
        return {};
    }
    Entry second(char32_t c, char32_t d) const { return next(first_node(c), d); }

    // Whether there can be words that start with c d, and a child c of the entry's node; false positives are possible.
    bool may_start(char32_t c, char32_t d) const {
        const uint64_t bit = filter_bit(c, d);
        return filter_[bit >> 6] >> (bit & 63) & 1;
    }
    static bool may_continue(const Entry& entry, char32_t c) { return entry.children & child_bit(c); }
    // Prefetches what next(node, c) reads, if `needed`: a factor instead of a branch that would be mispredicted.
    void prefetch(uint32_t node, char32_t c, bool needed = true) const {
        __builtin_prefetch(&slots_[index_of(key_of(node, c)) * needed]);
    }
    static uint32_t direct_node(char32_t c) { return c + 1; }  // of characters below DIRECT

private:
    static constexpr char32_t DIRECT = 0x10000;  // the node of a first character c below is c + 1
    static constexpr int FILTER_BITS = 21;
    static constexpr int NODE_BITS = 21;  // a key consists of node, character (21 bits) and next node
    struct Slot {
        uint64_t key = 0;       // 0 = free
        uint32_t children = 0;
        uint32_t weight = 0;    // index into weights_
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
    std::vector<double> weights_{NAN};  // the distinct ones
    int shift_ = 64 - 12;             // 64 - log2 of the number of slots
    size_t used_ = 0;
    uint32_t nodes_ = DIRECT + 1;
};

}  // namespace efs
