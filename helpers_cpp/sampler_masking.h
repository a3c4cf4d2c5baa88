// Masking of one row, equal to that of ernie_from_scratch/dataset/masking.py, which explains the rules.
#pragma once
#include <pybind11/stl.h>

#include <cmath>
#include <utility>

#include "sampler_corpus.h"
#include "sampler_random.h"

namespace sampler {

enum Level { kChar, kWord, kPhrase, kEntity, kLevels };  // in the order of masking.LEVELS
constexpr double kMasked = 0.8, kKept = 0.9;             // a draw below: [MASK]; below: unchanged; else random

struct MaskingRules {
    using Stage = std::pair<int64_t, std::vector<double>>;
    std::vector<Stage> stages;  // first sample number, cumulative shares of the levels
    std::vector<double> ngram_shares;
    double masked_lm_prob;
    bool per_unit;

    explicit MaskingRules(const py::object& rules)
        : stages(rules.attr("stages").cast<std::vector<Stage>>()),
          ngram_shares(rules.attr("ngram_shares")().cast<std::vector<double>>()),
          masked_lm_prob(rules.attr("masked_lm_prob").cast<double>()),
          per_unit(std::string(py::str(rules.attr("replace_per"))) == "unit") {
        require(!stages.empty() && stages[0].first == 0, "the first stage must begin at sample 0");
        for (const Stage& stage : stages)
            require(stage.second.size() == kLevels, "a stage needs a share per level");
        require(!ngram_shares.empty() && masked_lm_prob > 0 && masked_lm_prob <= 1,
                "masking rules out of range");
    }

    Level level(int64_t sample, uint64_t key) const {
        size_t stage = stages.size() - 1;
        while (stages[stage].first > sample) --stage;
        double draw = uniform(fold(fold(key, kLevel), 0));
        int level = 0;
        for (double share : stages[stage].second) level += draw >= share;
        return static_cast<Level>(std::min<int>(level, kLevels - 1));
    }
};

// The masked tokens of all rows so far.
struct Masked {
    std::vector<int64_t> positions, labels;
    std::vector<uint8_t> kinds;
};

class Masker {
  public:
    Masker(const MaskingRules& rules, const Tokens& tokens) : rules_(rules), tokens_(tokens) {}

    // ids: n model ids, masked in place; spans, special: n; count: tokens without [CLS] and [SEP];
    // offset: of the row in the flattened batch, added to the positions.
    void mask_row(int64_t* ids, const uint8_t* spans, const uint8_t* special, int n, int count, Level level,
                  uint64_t key, int64_t offset, Masked& out) {
        find_units(spans, special, n, level);
        choose(n, count, level, key);
        uint64_t replace_key = fold(key, kReplace), token_key = fold(key, kToken);
        for (int position = 0; position < n; ++position) {
            int unit_start = unit_of_[position];
            if (unit_start < 0) continue;
            out.positions.push_back(offset + position);
            out.labels.push_back(ids[position]);
            out.kinds.push_back(spans[position] >> kTypeShift);
            double decision = uniform(fold(replace_key, rules_.per_unit ? unit_start : position));
            if (decision < kMasked) ids[position] = tokens_.mask;
            else if (decision >= kKept) {
                ids[position] =
                    tokens_.replacements[below(fold(token_key, position), tokens_.replacements.size())];
            }
        }
    }

  private:
    struct Unit {
        int start, end;
        bool entity;
    };

    // Written without branches that depend on the text, because those are mispredicted.
    void find_units(const uint8_t* spans, const uint8_t* special, int n, Level level) {
        is_start_.resize(n);
        in_entity_.assign(n, 0);
        starts_.resize(n + 1);
        specials_before_.resize(n + 1);
        units_.resize(n);
        const uint8_t start_bit = level == kPhrase ? kPhraseStart : kWordStart;
        for (int i = 0; i < n; ++i) is_start_[i] = level == kChar || (spans[i] & start_bit);
        if (level == kEntity) join_entities(spans, n);
        is_start_[0] = 1;
        int count = 0, before = 0, kept = 0;
        for (int i = 0; i < n; ++i) {
            starts_[count] = i;
            count += is_start_[i];
            specials_before_[i] = before;
            before += special[i];
        }
        starts_[count] = n;
        specials_before_[n] = before;
        for (int u = 0; u < count; ++u) {  // what contains a special token is not a unit
            int start = starts_[u], end = starts_[u + 1];
            units_[kept] = {start, end, in_entity_[start] != 0};
            kept += specials_before_[start] == specials_before_[end];
        }
        units_.resize(kept);
    }

    // An entity is one unit: from its start as long as the type stays the same.
    void join_entities(const uint8_t* spans, int n) {
        bool inside = false;
        int last_kind = -1;
        for (int i = 0; i < n; ++i) {
            int kind = spans[i] >> kTypeShift;
            bool start = spans[i] & kEntityStart, entity_begins = start & (kind != 0), was_inside = inside;
            inside = (entity_begins | (kind != last_kind)) ? entity_begins : inside;
            last_kind = kind;
            in_entity_[i] = inside;
            // outside: a word, or the rest of a word that starts inside an entity
            is_start_[i] = inside ? start : (is_start_[i] | was_inside);
        }
    }

    void choose(int n, int count, Level level, uint64_t key) {
        unit_of_.assign(n, -1);
        masked_ = 0;
        budget_ = std::max(1, static_cast<int>(std::nearbyint(rules_.masked_lm_prob * count)));
        const uint64_t order_key = fold(key, kUnitOrder);
        const int unit_count = static_cast<int>(units_.size());
        order_.clear();
        if (level == kEntity) {
            for (int u = 0; u < unit_count; ++u)
                if (units_[u].entity) order_.push_back(u);
            choose_units(fold(key, kEntityOrder), nullptr, count / 2);
            order_.clear();
            for (int u = 0; u < unit_count; ++u)
                if (!units_[u].entity) order_.push_back(u);
            choose_units(order_key, nullptr, 0);
        } else {
            for (int u = 0; u < unit_count; ++u) order_.push_back(u);
            uint64_t ngram_key = fold(key, kNgram);
            choose_units(order_key, &ngram_key, 0);
        }
        if (!masked_ && unit_count)
            mask(units_[below(fold(order_key, 0), unit_count)]);  // all exceed the budget
    }

    // Go through order_ in random order (Fisher-Yates) and mask what fits the budget; the first unit may have
    // up to first_limit tokens.
    void choose_units(uint64_t key, const uint64_t* ngram_key, int first_limit) {
        const int size = static_cast<int>(order_.size());
        for (int i = 0; i < size && masked_ < budget_; ++i) {
            std::swap(order_[i], order_[i + below(fold(key, i), size - i)]);
            int first = order_[i], last = first;
            if (ngram_key) {
                int more = ngram_length(fold(*ngram_key, i)) - 1;
                while (more-- > 0 && last + 1 < static_cast<int>(units_.size()) &&
                       units_[last + 1].start == units_[last].end) {
                    ++last;
                }
            }
            int limit = std::max(budget_ - masked_, masked_ ? 0 : first_limit);
            while (units_[last].end - units_[first].start > limit && last > first) --last;
            if (units_[last].end - units_[first].start > limit || any_masked(first, last)) continue;
            for (int u = first; u <= last; ++u) mask(units_[u]);
        }
    }

    int ngram_length(uint64_t bits) const {
        double draw = uniform(bits);
        size_t n = 1;
        for (double share : rules_.ngram_shares) n += share <= draw;
        return static_cast<int>(std::min(n, rules_.ngram_shares.size()));
    }

    bool any_masked(int first, int last) const {
        for (int u = first; u <= last; ++u)
            if (unit_of_[units_[u].start] >= 0) return true;
        return false;
    }

    void mask(const Unit& unit) {
        for (int position = unit.start; position < unit.end; ++position) unit_of_[position] = unit.start;
        masked_ += unit.end - unit.start;
    }

    const MaskingRules& rules_;
    const Tokens& tokens_;
    std::vector<uint8_t> is_start_, in_entity_;
    std::vector<int> starts_, specials_before_;
    std::vector<Unit> units_;
    std::vector<int> order_, unit_of_;  // unit_of_: start of the masked unit at each position, or -1
    int masked_ = 0, budget_ = 0;
};

}  // namespace sampler
