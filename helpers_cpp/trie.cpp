#include "trie.h"

#include <pybind11/pybind11.h>

#include <unordered_map>

namespace efs {

Trie::Trie() : first_weights_(DIRECT, NAN), slots_(1 << 12), filter_((size_t{1} << FILTER_BITS) / 64) {}

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

uint32_t Trie::make_child(uint32_t node, char32_t c) {
    if ((used_ + 1) * 2 > slots_.size()) grow();
    const uint64_t key = key_of(node, c);
    Slot& one = slot(key);
    if (one.key == 0) {
        if (nodes_ >= 1u << NODE_BITS) throw pybind11::value_error("too many words for one dictionary");
        one.key = key | nodes_++;
        ++used_;
    }
    return one.node();
}

uint32_t Trie::make_node(CodePointView text) {
    uint32_t node = text[0] < DIRECT ? first_node(text[0]) : make_child(0, text[0]);
    if (text.size() > 1) {
        const uint64_t bit = filter_bit(text[0], text[1]);
        filter_[bit >> 6] |= uint64_t{1} << (bit & 63);
    }
    for (size_t i = 1, parent = 0; i < text.size(); ++i) {
        if (i > 1) slot(key_of(static_cast<uint32_t>(parent), text[i - 1])).children |= child_bit(text[i]);
        parent = node;
        node = make_child(node, text[i]);
    }
    return node;
}

uint32_t Trie::find(CodePointView text) const {
    if (text.empty()) return 0;
    uint32_t node = first_node(text[0]);
    for (size_t i = 1; i < text.size() && node != 0; ++i) node = next(node, text[i]).node;
    return node;
}

void Trie::set_weights(const std::vector<int64_t>& frequencies, double log_total) {
    std::unordered_map<int64_t, uint32_t> indices;  // of weights, by frequency
    weights_.assign(1, NAN);
    const auto index_of_weight = [&](int64_t frequency) {
        if (frequency <= 0) return uint32_t{0};
        const auto [found, is_new] = indices.try_emplace(frequency, static_cast<uint32_t>(weights_.size()));
        if (is_new) weights_.push_back(std::log(static_cast<double>(frequency)) - log_total);
        return found->second;
    };
    for (char32_t c = 0; c < DIRECT; ++c) first_weights_[c] = weights_[index_of_weight(frequencies[first_node(c)])];
    for (Slot& one : slots_)
        if (one.key != 0) one.weight = index_of_weight(frequencies[one.node()]);
}

}  // namespace efs
