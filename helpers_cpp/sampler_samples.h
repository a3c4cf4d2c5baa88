// The sample table and the split into segments A and B, equal to those of ernie_from_scratch/dataset/samples.py.
#pragma once
#include <cmath>

#include "sampler_corpus.h"
#include "sampler_random.h"

namespace sampler {

enum Pairs { kSop, kNsp, kNone };  // in the order of samples.SENTENCE_PAIRS

struct SampleRules {
    int64_t max_tokens, max_sentences;
    Pairs pairs;
    double short_seq_prob;

    explicit SampleRules(const py::object& rules)
        : max_tokens(rules.attr("max_tokens").cast<int64_t>()),
          max_sentences(rules.attr("max_sentences").cast<int64_t>()),
          short_seq_prob(rules.attr("short_seq_prob").cast<double>()) {
        std::string name = py::str(rules.attr("sentence_pairs"));
        pairs = name == "sop" ? kSop : name == "nsp" ? kNsp : kNone;
        require(max_tokens >= 2 && max_tokens <= (1 << 15) && max_sentences >= 0,
                "sample rules out of range");
    }
};

constexpr int64_t kIgnoreIndex = -100;  // label of a row without a pair

struct Segments {
    int64_t a_start, a_length, b_start = 0, b_length = 0, label = 0;
};

class SampleBuilder {
  public:
    SampleBuilder(const Corpus& corpus, const SampleRules& rules) : corpus_(corpus), rules_(rules) {}

    void add_document(int64_t document, uint64_t key, std::vector<SampleRow>& table) {
        find_chunks(document);
        group_chunks(key);
        if (rules_.pairs != kNone) extend_last_group();
        for (const Group& group : groups_) {
            if (rules_.pairs == kNsp && group.length < 2) continue;  // one token cannot make a pair
            const Chunk& first = chunks_[group.begin];
            table.push_back({first.start, first.sentence, static_cast<int32_t>(document),
                             static_cast<int32_t>(group.length)});
        }
    }

  private:
    struct Chunk {  // a sentence, or a part of a long one
        int64_t start, length, sentence;
    };
    struct Group {
        size_t begin, end;
        int64_t length;
    };

    void find_chunks(int64_t document) {
        chunks_.clear();
        for (int64_t s = corpus_.documents[document]; s < corpus_.documents[document + 1]; ++s) {
            int64_t start = corpus_.sentences[s], end = corpus_.sentences[s + 1];
            while (end - start > rules_.max_tokens) {
                int64_t next = split_point(start, end);
                chunks_.push_back({start, next - start, s});
                start = next;
            }
            if (end > start) chunks_.push_back({start, end - start, s});
        }
    }

    // Chunks of about equal length, split at the last allowed token in the second half of that length.
    int64_t split_point(int64_t start, int64_t end) const {
        int64_t remaining = end - start;
        int64_t chunks = (remaining + rules_.max_tokens - 1) / rules_.max_tokens;
        int64_t length = (remaining + chunks - 1) / chunks;
        int64_t token = start + length;
        while (token >= start + length / 2 && !corpus_.can_start_segment(token)) --token;
        return token >= start + length / 2 ? token : start + length;
    }

    void group_chunks(uint64_t key) {
        groups_.clear();
        int64_t target = 0;
        for (size_t i = 0; i < chunks_.size(); ++i) {
            bool full = rules_.max_sentences && !groups_.empty() &&
                        i - groups_.back().begin >= static_cast<size_t>(rules_.max_sentences);
            if (groups_.empty() || full || groups_.back().length + chunks_[i].length > target) {
                target = target_length(key, groups_.size());
                groups_.push_back({i, i, 0});
            }
            groups_.back().end = i + 1;
            groups_.back().length += chunks_[i].length;
        }
    }

    int64_t target_length(uint64_t key, uint64_t group) const {
        if (uniform(fold(key, 2 * group)) < rules_.short_seq_prob) {
            return 2 + below(fold(key, 2 * group + 1), rules_.max_tokens - 1);
        }
        return rules_.max_tokens;
    }

    void extend_last_group() {
        if (groups_.size() < 2) return;
        Group &last = groups_.back(), &before = groups_[groups_.size() - 2];
        if (last.end - last.begin > 1 || before.end - before.begin < 3) return;
        int64_t moved = chunks_[last.begin - 1].length;
        if (last.length + moved > rules_.max_tokens) return;
        --before.end;
        before.length -= moved;
        --last.begin;
        last.length += moved;
    }

    const Corpus& corpus_;
    const SampleRules& rules_;
    std::vector<Chunk> chunks_;
    std::vector<Group> groups_;
};

// The samples of one corpus that belong to a split, and how to split them into segments.
class SampleTable {
  public:
    SampleTable(const Corpus& corpus, const py::object& table, const SampleRules& rules)
        : corpus_(&corpus), rows_(table, "the sample table") {
        int64_t shortest = rules.pairs == kNsp ? 2 : 1, last_document = 0;
        for (const SampleRow& row : rows_) {
            require(row.length >= shortest && row.length <= rules.max_tokens && row.start >= 0 &&
                        row.start <= corpus.size() - row.length,
                    "a sample is outside the corpus");
            require(row.sentence >= 0 && row.sentence < corpus.sentences.size() - 1 &&
                        corpus.sentences[row.sentence] <= row.start &&
                        row.start < corpus.sentences[row.sentence + 1],
                    "a sample does not start in its sentence");
            require(row.document >= last_document, "samples are not in the order of documents");
            last_document = row.document;
        }
        require(rules.pairs != kNsp || !size() || rows_[0].document != rows_[size() - 1].document,
                "nsp needs two documents");
    }
    int64_t size() const { return rows_.size(); }

    Segments segments(int64_t number, Pairs pairs, uint64_t key) const {
        const SampleRow& row = rows_[number];
        if (pairs == kNone) return {row.start, row.length};
        if (pairs == kSop && !sentences_inside(row)) return {row.start, row.length, 0, 0, kIgnoreIndex};
        int64_t start = row.start, end = start + row.length, split = choose_split(row, key);
        if (uniform(fold(fold(key, kSwap), 0)) >= 0.5) return {start, split - start, split, end - split, 0};
        if (pairs == kSop) return {split, end - split, start, split - start, 1};
        const SampleRow& other = rows_[sample_of_another_document(row.document, key)];
        return {start, split - start, other.start, std::min<int64_t>(other.length, end - split), 1};
    }

  private:
    bool is_new(int64_t sentence) const {
        return corpus_->sentences[sentence] != corpus_->sentences[sentence - 1];
    }

    int64_t sentences_inside(const SampleRow& row) const {
        int64_t count = 0;
        for (int64_t s = row.sentence + 1; corpus_->sentences[s] < row.start + row.length; ++s)
            count += is_new(s);
        return count;
    }

    // One of the sentence starts inside the sample; without any, of the word starts; without any, of the tokens.
    int64_t choose_split(const SampleRow& row, uint64_t key) const {
        int64_t start = row.start, end = start + row.length;
        uint64_t draw = fold(fold(key, kSplitPoint), 0);
        int64_t count = sentences_inside(row);
        if (count) {
            int64_t skip = below(draw, count), s = row.sentence + 1;
            for (; !is_new(s) || skip-- > 0; ++s) {
            }
            return corpus_->sentences[s];
        }
        for (int64_t token = start + 1; token < end; ++token) count += corpus_->can_start_segment(token);
        if (!count) return start + 1 + below(draw, end - start - 1);
        int64_t skip = below(draw, count), token = start + 1;
        while (!corpus_->can_start_segment(token) || skip-- > 0) ++token;
        return token;
    }

    int64_t sample_of_another_document(int32_t document, uint64_t key) const {
        auto before = [](const SampleRow& row, int32_t value) { return row.document < value; };
        auto after = [](int32_t value, const SampleRow& row) { return value < row.document; };
        int64_t begin = std::lower_bound(rows_.begin(), rows_.end(), document, before) - rows_.begin();
        int64_t end = std::upper_bound(rows_.begin(), rows_.end(), document, after) - rows_.begin();
        int64_t other = below(fold(fold(key, kOtherDocument), 0), size() - (end - begin));
        return other < begin ? other : other + (end - begin);
    }

    const Corpus* corpus_;
    Row<SampleRow> rows_;
};

}  // namespace sampler
