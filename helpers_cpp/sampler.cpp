// Token ids -> masked batches, equal to those of ernie_from_scratch/dataset/{samples,blending,collate,sampler}.py.
// Threads may call `batch` of one Sampler at the same time; it releases the GIL while it makes rows.
#include "helpers.h"
#include "sampler_corpus.h"
#include "sampler_masking.h"
#include "sampler_random.h"
#include "sampler_samples.h"

namespace sampler {
namespace {

constexpr int64_t kLengthMultiple = 8;
constexpr int64_t kLastNumber = int64_t{1} << 62, kMaxRows = 1 << 20;
enum SplitKey : uint64_t { kRows, kOrder, kCorpus };  // blending.py

template <typename T>
py::array_t<T> to_numpy(const std::vector<T>& values) {
    return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

class Sampler {
  public:
    Sampler(const py::sequence& corpora, const py::sequence& tables, const py::object& tokens,
            const py::object& sample_rules, const py::object& masking_rules, const py::object& blend,
            int64_t max_seq_len)
        : tokens_(tokens),
          sample_rules_(sample_rules),
          masking_rules_(masking_rules),
          shares_(blend.attr("shares"), "shares"),
          key_(blend.attr("key").cast<uint64_t>()),
          max_seq_len_(max_seq_len) {
        int64_t specials = sample_rules_.pairs == kNone ? 2 : 3;
        require(max_seq_len_ >= sample_rules_.max_tokens + specials, "samples are longer than max_seq_len");
        require(corpora.size() == tables.size() && shares_.size() == static_cast<int64_t>(corpora.size()),
                "corpora, tables and shares differ in number");
        corpora_.reserve(corpora.size());
        for (size_t c = 0; c < corpora.size(); ++c) {
            corpora_.emplace_back(corpora[c]);
            tables_.emplace_back(corpora_.back(), tables[c], sample_rules_);
            int64_t share = shares_[c];
            require(share >= 0 && share < (int64_t{1} << 40) && (!share || tables_.back().size()),
                    "a share is negative, or of an empty corpus");
            epoch_size_ += share;
            ends_.push_back(epoch_size_);
        }
    }

    py::dict batch(const Array<int64_t>& numbers) const {
        require(numbers.ndim() == 1 && numbers.shape(0) > 0 && numbers.shape(0) <= kMaxRows,
                "no sample numbers, or too many");
        require(epoch_size_ > 0, "no samples");
        std::vector<int64_t> samples(numbers.data(), numbers.data() + numbers.shape(0));
        for (int64_t number : samples)
            require(number >= 0 && number <= kLastNumber, "a sample number is out of range");
        std::vector<Plan> plans;
        int64_t width;
        {
            py::gil_scoped_release release;
            plans = plan(samples);
            width = width_of(plans);
        }
        const py::ssize_t rows = static_cast<py::ssize_t>(plans.size());
        py::array_t<int64_t> input_ids({rows, static_cast<py::ssize_t>(width)});
        py::array_t<int64_t> type_ids({rows, static_cast<py::ssize_t>(width)});
        py::array_t<int64_t> labels(rows);
        bool padded =
            std::any_of(plans.begin(), plans.end(), [&](const Plan& p) { return length_of(p) < width; });
        py::array_t<int64_t> attention({padded ? rows : 0, static_cast<py::ssize_t>(width)});
        int64_t *ids = input_ids.mutable_data(), *types = type_ids.mutable_data(),
                *label = labels.mutable_data();
        int64_t* attend = padded ? attention.mutable_data() : nullptr;
        Masked masked;
        {
            py::gil_scoped_release release;
            fill(samples, plans, width, ids, types, attend, label, masked);
        }
        py::dict result;
        result["input_ids"] = input_ids;
        result["token_type_ids"] = type_ids;
        result["attention_mask"] = padded ? py::object(attention) : py::none();
        result["masked_positions"] = to_numpy(masked.positions);
        result["masked_lm_labels"] = to_numpy(masked.labels);
        result["masked_span_kinds"] = to_numpy(masked.kinds);
        if (sample_rules_.pairs != kNone) result["next_sentence_label"] = labels;
        return result;
    }

  private:
    struct Plan {
        const Corpus* corpus;
        Segments segments;
        uint64_t key;
    };

    int64_t length_of(const Plan& plan) const {
        const Segments& s = plan.segments;
        return s.a_length + s.b_length + (s.b_length ? 3 : 2);
    }

    int64_t width_of(const std::vector<Plan>& plans) const {
        int64_t longest = 0;
        for (const Plan& plan : plans) longest = std::max(longest, length_of(plan));
        return std::min((longest + kLengthMultiple - 1) / kLengthMultiple * kLengthMultiple, max_seq_len_);
    }

    std::vector<Plan> plan(const std::vector<int64_t>& numbers) const {
        std::vector<Plan> plans;
        plans.reserve(numbers.size());
        for (int64_t number : numbers) {
            uint64_t key = fold(fold(key_, kRows), number);
            auto [c, row] = locate(number);
            plans.push_back({&corpora_[c], tables_[c].segments(row, sample_rules_.pairs, key), key});
        }
        return plans;
    }

    // Corpus and row of its sample table; blending.py, Blend.locate.
    std::pair<size_t, int64_t> locate(int64_t number) const {
        int64_t epoch = number / epoch_size_, slot = in_epoch(fold(key_, kOrder), epoch_size_, number);
        size_t c = std::upper_bound(ends_.begin(), ends_.end(), slot) - ends_.begin();
        int64_t number_in_corpus = epoch * shares_[c] + slot - (ends_[c] - shares_[c]);
        return {c, in_epoch(fold(key_, kCorpus + c), tables_[c].size(), number_in_corpus)};
    }

    static int64_t in_epoch(uint64_t key, int64_t size, int64_t number) {
        return Shuffle(fold(key, number / size), size)(number % size);
    }

    void fill(const std::vector<int64_t>& numbers, const std::vector<Plan>& plans, int64_t width,
              int64_t* ids, int64_t* types, int64_t* attend, int64_t* labels, Masked& masked) const {
        Masker masker(masking_rules_, tokens_);
        std::vector<uint8_t> spans(width), special(width);
        for (size_t r = 0; r < plans.size(); ++r) {
            const Plan& plan = plans[r];
            const Segments& s = plan.segments;
            int64_t *row_ids = ids + r * width, *row_types = types + r * width;
            int64_t n = assemble(plan, row_ids, spans.data(), special.data()), a_end = s.a_length + 2;
            std::fill(row_ids + n, row_ids + width, tokens_.pad);
            std::fill(row_types, row_types + width, 0);
            std::fill(row_types + a_end, row_types + n, 1);
            if (attend) {
                std::fill(attend + r * width, attend + r * width + n, 1);
                std::fill(attend + r * width + n, attend + (r + 1) * width, 0);
            }
            labels[r] = s.label;
            masker.mask_row(row_ids, spans.data(), special.data(), static_cast<int>(n),
                            static_cast<int>(s.a_length + s.b_length),
                            masking_rules_.level(numbers[r], plan.key), plan.key, r * width, masked);
        }
    }

    // [CLS] A [SEP] B [SEP] in model ids; returns the number of tokens.
    int64_t assemble(const Plan& plan, int64_t* ids, uint8_t* spans, uint8_t* special) const {
        const Segments& s = plan.segments;
        const uint8_t boundary = kWordStart | kPhraseStart;
        int64_t n = 0;
        auto add = [&](int64_t id, uint8_t bits) {
            ids[n] = tokens_.model_ids[id];
            special[n] = tokens_.special[id];
            spans[n++] = bits;
        };
        auto add_segment = [&](int64_t start, int64_t length) {
            if (!length) return;
            int64_t first = n;
            for (int64_t token = start; token < start + length; ++token)
                add(plan.corpus->id(token, tokens_.size()), plan.corpus->spans(token));
            spans[first] |= boundary;
            add(tokens_.sep, boundary);
        };
        add(tokens_.cls, boundary);
        add_segment(s.a_start, s.a_length);
        add_segment(s.b_start, s.b_length);
        return n;
    }

    Tokens tokens_;
    SampleRules sample_rules_;
    MaskingRules masking_rules_;
    std::vector<Corpus> corpora_;
    std::vector<SampleTable> tables_;
    Row<int64_t> shares_;
    std::vector<int64_t> ends_;  // cumulative shares
    uint64_t key_;
    int64_t max_seq_len_, epoch_size_ = 0;
};

py::array_t<SampleRow> build_samples(const py::object& corpus_object, int64_t first, int64_t last,
                                     const py::object& rules_object, uint64_t key) {
    Corpus corpus(corpus_object);
    SampleRules rules(rules_object);
    require(first >= 0 && first <= last && last < corpus.documents.size() && last <= INT32_MAX,
            "documents out of range");
    std::vector<SampleRow> table;
    {
        py::gil_scoped_release release;
        SampleBuilder builder(corpus, rules);
        for (int64_t document = first; document < last; ++document) {
            builder.add_document(document, fold(key, document), table);
        }
    }
    return to_numpy(table);
}

}  // namespace
}  // namespace sampler

void bind_sampler(pybind11::module_& module) {
    namespace py = pybind11;
    using sampler::SampleRow;
    PYBIND11_NUMPY_DTYPE(SampleRow, start, sentence, document, length);
    module.def("build_samples", &sampler::build_samples, "samples.py, build_samples", py::arg("corpus"),
               py::arg("first"), py::arg("last"), py::arg("rules"), py::arg("key"));
    py::class_<sampler::Sampler>(module, "Sampler", "sampler.py, PythonSampler")
        .def(py::init<const py::sequence&, const py::sequence&, const py::object&, const py::object&,
                      const py::object&, const py::object&, int64_t>(),
             py::arg("corpora"), py::arg("tables"), py::arg("tokens"), py::arg("sample_rules"),
             py::arg("masking_rules"), py::arg("blend"), py::arg("max_seq_len"))
        .def("batch", &sampler::Sampler::batch, py::arg("sample_numbers"));
}
