// Counter-based random numbers, equal to those of ernie_from_scratch/dataset/rng.py, which explains them.
#pragma once
#include <array>
#include <cstdint>

namespace sampler {

constexpr uint64_t kGolden = 0x9E3779B97F4A7C15ull;
constexpr int kShuffleRounds = 8;

enum Purpose : uint64_t {
    kLevel,
    kSplitPoint,
    kSwap,
    kOtherDocument,
    kEntityOrder,
    kUnitOrder,
    kNgram,
    kReplace,
    kToken
};

inline uint64_t mix64(uint64_t value) {
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9ull;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EBull;
    return value ^ (value >> 31);
}

// The key of `value` under `key`, which is also draw number `value` of `key`.
inline uint64_t fold(uint64_t key, uint64_t value) {
    return mix64(key + kGolden * (value + 1));
}

inline double uniform(uint64_t bits) {
    return static_cast<double>(bits >> 11) * 0x1p-53;
}

// limit < 2^32
inline int64_t below(uint64_t bits, uint64_t limit) {
    return static_cast<int64_t>(((bits >> 32) * limit) >> 32);
}

// A random permutation of range(size) by a Feistel network, computed for each position.
class Shuffle {
  public:
    Shuffle(uint64_t key, int64_t size) : size_(size) {
        if (size < 2) return;
        rows_ = 1;
        int64_t high = int64_t{1} << 31;
        while (rows_ < high) {  // the smallest number whose square is at least size
            int64_t middle = (rows_ + high) / 2;
            if (middle * middle >= size) high = middle;
            else rows_ = middle + 1;
        }
        columns_ = (size + rows_ - 1) / rows_;
        for (int round = 0; round < kShuffleRounds; ++round) keys_[round] = fold(key, round);
    }

    int64_t operator()(int64_t position) const {
        if (size_ < 2) return position;
        int64_t value = position;
        do {
            int64_t left = value / columns_, right = value % columns_;
            for (int round = 0; round < kShuffleRounds; ++round) {
                if (round % 2) {
                    right += below(fold(keys_[round], left), columns_);
                    if (right >= columns_) right -= columns_;
                } else {
                    left += below(fold(keys_[round], right), rows_);
                    if (left >= rows_) left -= rows_;
                }
            }
            value = left * columns_ + right;
        } while (value >= size_);
        return value;
    }

  private:
    int64_t size_, rows_ = 1, columns_ = 1;
    std::array<uint64_t, kShuffleRounds> keys_{};
};

}  // namespace sampler
