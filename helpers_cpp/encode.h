// Sentences -> token ids and span bits, collected for complete documents.
// Equal to those of ernie_from_scratch/text/corpus/encoding.py, PythonEncoder.
#pragma once

#include <cstdint>
#include <vector>

#include "boundaries.h"
#include "segment.h"
#include "wordpiece.h"

namespace efs {

class Encoder {
public:
    Encoder(WordPiece& pieces, Segmenter* segmenter, bool paddlenlp_rule, bool newlines_only,
            int max_sentence_length);

    void add_text(CodePointView text);
    // `starts` has a byte per character, 1 where a word starts; by default the encoder's segmenter finds the words.
    void add_sentence(CodePointView text, const uint8_t* starts, const std::vector<Span>& annotated,
                      const std::vector<Span>& detected);
    void end_document();

    std::vector<int32_t> ids;
    std::vector<uint8_t> bits;
    std::vector<int32_t> lens, docs;
    int long_sentences = 0;

    void clear();

private:
    void segment(CodePointView text);
    void encode(CodePointView text);
    void find_paddlenlp_continuations(CodePointView text);
    void close_sentence(size_t first);

    WordPiece& pieces_;
    Segmenter* segmenter_;
    bool paddlenlp_rule_, newlines_only_;
    size_t max_sentence_length_;
    int sentences_ = 0;
    Boundaries known_;
    WordSet words_;
    std::vector<Token> tokens_;
    std::vector<uint8_t> continues_;  // by PaddleNLP's rule, of each token
    std::vector<Span> detected_;
    CodePoints joined_;
};

void bind_encoder(pybind11::module_& module);

}  // namespace efs
