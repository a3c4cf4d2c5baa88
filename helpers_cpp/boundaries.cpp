#include "boundaries.h"

namespace efs {

void Boundaries::reset(size_t length) {
    words_only = true;
    word_start.assign(length + 1, 0);
}

void Boundaries::apply(const std::vector<Span>& annotated, const std::vector<Span>& detected) {
    if (annotated.empty() && detected.empty()) return;
    words_only = false;
    const size_t length = word_start.size() - 1;
    span_edge.assign(length + 1, 0);
    phrase.assign(length + 1, -1);
    entity.assign(length, 0);
    types.assign(1, 0);
    std::vector<Span> entities, phrases;
    for (const Span& span : annotated) {
        if (span.code == WORD_CODE)
            std::fill(word_start.begin() + span.start + 1, word_start.begin() + span.end, uint8_t{0});
        span_edge[span.start] = span_edge[span.end] = 1;
        if (span.code < PHRASE_CODE) entities.push_back(span);
        if (span.code == PHRASE_CODE) phrases.push_back(span);
    }
    const auto size = [](const Span& span) { return span.end - span.start; };
    std::stable_sort(entities.begin(), entities.end(), [&](const Span& a, const Span& b) {
        return size(a) != size(b) ? size(a) > size(b) : a.start < b.start;
    });
    entities.insert(entities.end(), detected.begin(), detected.end());
    // annotated entities take precedence over detected ones, and longer over shorter ones
    for (const Span& span : entities) {
        const auto first = entity.begin() + span.start, last = entity.begin() + span.end;
        if (std::any_of(first, last, [](int32_t number) { return number != 0; })) continue;
        types.push_back(span.code);
        std::fill(first, last, static_cast<int32_t>(types.size()) - 1);
        span_edge[span.start] = span_edge[span.end] = 1;
        set_phrase(span.start, span.end);
    }
    std::stable_sort(phrases.begin(), phrases.end(), [&](const Span& a, const Span& b) {
        return size(a) != size(b) ? size(a) < size(b) : a.start < b.start;
    });
    for (const Span& span : phrases)  // outer phrases overwrite inner ones
        if (!inside_entity(span.start) && !inside_entity(span.end)) set_phrase(span.start, span.end);
}

void Boundaries::set_phrase(uint32_t start, uint32_t end) {
    phrase[start] = phrase[end] = 1;
    std::fill(phrase.begin() + start + 1, phrase.begin() + end, int8_t{0});
}

bool Boundaries::inside_entity(uint32_t position) const {
    return position > 0 && position < entity.size() && entity[position] != 0 && entity[position] == entity[position - 1];
}

uint64_t WordSet::hash(CodePointView word) {
    uint64_t value = word.size();
    for (char32_t c : word) {
        value = (value ^ c) * 0x9E3779B97F4A7C15ull;
        value ^= value >> 29;
    }
    return value;
}

void WordSet::fill(CodePointView text, const Boundaries& known) {
    text_ = text;
    used_ = 0;
    ++sentence_;
    lengths_.fill(0);
    const size_t length = text.size();
    const auto is_edge = [&](size_t p) {
        return p == length || known.word_start[p] || (!known.words_only && known.span_edge[p]);
    };
    if (slots_.size() < 2 * length || sentence_ == 0) {
        size_t size = slots_.size();
        while (size < 2 * length) size *= 2;
        slots_.assign(size, Slot{});
        sentence_ = 1;
    }
    for (size_t start = 0, end; start < length; start = end) {
        end = start + 1;
        while (!is_edge(end)) ++end;
        if (end - start < 2) continue;
        lengths_[text[start] % lengths_.size()] |= length_bit(end - start);
        size_t i = hash(text.substr(start, end - start)) & (slots_.size() - 1);
        while (slots_[i].sentence == sentence_) i = (i + 1) & (slots_.size() - 1);
        slots_[i] = {sentence_, static_cast<uint32_t>(start), static_cast<uint32_t>(end - start)};
        ++used_;
    }
}

size_t WordSet::max_length_from(char32_t c) const {
    const uint32_t lengths = lengths_[c % lengths_.size()];
    if (lengths == 0) return 0;
    const size_t longest = 31 - static_cast<size_t>(__builtin_clz(lengths));
    return longest == MAX_TRACKED_LENGTH ? SIZE_MAX : longest;
}

bool WordSet::contains(CodePointView word) const {
    if (!(lengths_[word[0] % lengths_.size()] & length_bit(word.size()))) return false;  // the usual case
    size_t i = hash(word) & (slots_.size() - 1);
    for (; slots_[i].sentence == sentence_; i = (i + 1) & (slots_.size() - 1))
        if (slots_[i].length == word.size() && text_.substr(slots_[i].start, slots_[i].length) == word) return true;
    return false;
}

}  // namespace efs
