// The sample table and the cut into segments A and B, the twin of ernie_from_scratch/dataset/samples.py.
#pragma once
#include <cmath>

#include "sampler_corpus.h"
#include "sampler_random.h"

namespace sampler {

enum Pairs { kSop, kNsp, kNone };  // order of samples.SENTENCE_PAIRS

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

const int64_t kNotAsked = -100;  // label of a row without a pair

struct Segments {
    int64_t a_start, a_length, b_start = 0, b_length = 0, label = 0;
};

class SampleBuilder {
  public:
    SampleBuilder(const Corpus& corpus, const Tokens& tokens, const SampleRules& rules)
        : corpus_(corpus), tokens_(tokens), rules_(rules) {}

    void add_document(int64_t document, uint64_t key, std::vector<SampleRow>& table) {
        find_pieces(document);
        group_pieces(key);
        if (rules_.pairs != kNone) share_last_sentence();
        for (const Group& group : groups_) {
            if (rules_.pairs == kNsp && group.length < 2) continue;  // one token cannot make a pair
            const Piece& first = pieces_[group.begin];
            table.push_back({first.start, first.sentence, static_cast<int32_t>(document),
                             static_cast<int32_t>(group.length)});
        }
    }

  private:
    struct Piece {
        int64_t start, length, sentence;
    };
    struct Group {
        size_t begin, end;
        int64_t length;
    };

    void find_pieces(int64_t document) {
        pieces_.clear();
        for (int64_t s = corpus_.documents[document]; s < corpus_.documents[document + 1]; ++s) {
            int64_t start = corpus_.sentences[s], end = corpus_.sentences[s + 1];
            while (end - start > rules_.max_tokens) {
                int64_t next = split_point(start, end);
                pieces_.push_back({start, next - start, s});
                start = next;
            }
            if (end > start) pieces_.push_back({start, end - start, s});
        }
    }

    // Pieces of about equal length, cut at the last place allowed in the second half of the wanted length.
    int64_t split_point(int64_t start, int64_t end) const {
        int64_t remaining = end - start;
        int64_t pieces = (remaining + rules_.max_tokens - 1) / rules_.max_tokens;
        int64_t wanted = (remaining + pieces - 1) / pieces;
        int64_t token = start + wanted;
        while (token >= start + wanted / 2 && !corpus_.may_start(token, tokens_)) --token;
        return token >= start + wanted / 2 ? token : start + wanted;
    }

    void group_pieces(uint64_t key) {
        groups_.clear();
        int64_t target = 0;
        for (size_t i = 0; i < pieces_.size(); ++i) {
            bool full = rules_.max_sentences && !groups_.empty() &&
                        i - groups_.back().begin >= static_cast<size_t>(rules_.max_sentences);
            if (groups_.empty() || full || groups_.back().length + pieces_[i].length > target) {
                target = target_length(key, groups_.size());
                groups_.push_back({i, i, 0});
            }
            groups_.back().end = i + 1;
            groups_.back().length += pieces_[i].length;
        }
    }

    int64_t target_length(uint64_t key, uint64_t group) const {
        if (uniform(fold(key, 2 * group)) < rules_.short_seq_prob) {
            return 2 + below(fold(key, 2 * group + 1), rules_.max_tokens - 1);
        }
        return rules_.max_tokens;
    }

    void share_last_sentence() {
        if (groups_.size() < 2) return;
        Group &last = groups_.back(), &before = groups_[groups_.size() - 2];
        if (last.end - last.begin > 1 || before.end - before.begin < 3) return;
        int64_t moved = pieces_[last.begin - 1].length;
        if (last.length + moved > rules_.max_tokens) return;
        --before.end;
        before.length -= moved;
        --last.begin;
        last.length += moved;
    }

    const Corpus& corpus_;
    const Tokens& tokens_;
    const SampleRules& rules_;
    std::vector<Piece> pieces_;
    std::vector<Group> groups_;
};

// The samples of one corpus that belong to a split, and how to cut them.
class SampleTable {
  public:
    SampleTable(const Corpus& corpus, const py::object& table, const SampleRules& rules)
        : corpus_(&corpus), rows_(table, "the sample table") {
        int64_t shortest = rules.pairs == kNsp ? 2 : 1, last_document = 0;
        for (const SampleRow& row : rows_) {
            require(row.length >= shortest && row.length <= rules.max_tokens && row.start >= 0 &&
                        row.start <= corpus.size() - row.length,
                    "a sample lies outside the corpus");
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

    Segments segments(int64_t number, Pairs pairs, uint64_t key, const Tokens& tokens) const {
        const SampleRow& row = rows_[number];
        if (pairs == kNone) return {row.start, row.length};
        if (pairs == kSop && !sentences_inside(row)) return {row.start, row.length, 0, 0, kNotAsked};
        int64_t start = row.start, end = start + row.length, cut = choose_cut(row, key, tokens);
        if (!(uniform(fold(fold(key, kSwap), 0)) < 0.5)) return {start, cut - start, cut, end - cut, 0};
        if (pairs == kSop) return {cut, end - cut, start, cut - start, 1};
        const SampleRow& other = rows_[other_document(row.document, key)];
        return {start, cut - start, other.start, std::min<int64_t>(other.length, end - cut), 1};
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

    // One of the sentence starts inside, else of the words, else of the tokens.
    int64_t choose_cut(const SampleRow& row, uint64_t key, const Tokens& tokens) const {
        int64_t start = row.start, end = start + row.length;
        uint64_t draw = fold(fold(key, kCut), 0);
        int64_t count = sentences_inside(row);
        if (count) {
            int64_t wanted = below(draw, count), s = row.sentence + 1;
            for (; !is_new(s) || wanted-- > 0; ++s) {
            }
            return corpus_->sentences[s];
        }
        for (int64_t token = start + 1; token < end; ++token) count += corpus_->may_start(token, tokens);
        if (!count) return start + 1 + below(draw, end - start - 1);
        int64_t wanted = below(draw, count), token = start + 1;
        while (!corpus_->may_start(token, tokens) || wanted-- > 0) ++token;
        return token;
    }

    int64_t other_document(int32_t document, uint64_t key) const {
        auto before = [](const SampleRow& row, int32_t value) { return row.document < value; };
        auto after = [](int32_t value, const SampleRow& row) { return value < row.document; };
        int64_t begin = std::lower_bound(rows_.begin(), rows_.end(), document, before) - rows_.begin();
        int64_t end = std::upper_bound(rows_.begin(), rows_.end(), document, after) - rows_.begin();
        int64_t other = below(fold(fold(key, kOther), 0), size() - (end - begin));
        return other < begin ? other : other + (end - begin);
    }

    const Corpus* corpus_;
    Row<SampleRow> rows_;
};

}  // namespace sampler
