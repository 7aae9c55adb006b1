// Which weights are dropped (Srivastava et al. 2014, JMLR 15): those whose number of 16 bits is below a limit. A number
// is worked out from a seed, its row and its column wherever it is asked for, so that no mask is kept, and both passes
// and any number of threads have the same. It is a hash of two rounds, those that end MurmurHash3 (Appleby 2011), with
// a key of the row, of splitmix64 (Steele et al. 2014, doi:10.1145/2660193.2660195), in each.

#include <array>

#include "vectors.hpp"

namespace {

using Kept = std::array<__mmask16, 2>;

class Dropout {
    uint64_t seed;
    uint32_t dropped;  // of 65,536

public:
    Dropout(uint64_t seed, uint32_t dropped) : seed(seed), dropped(dropped) {}

    // What those that are kept are greater by, so that the mean stays.
    float factor() const { return 65536.0f / (65536 - dropped); }

    // Of a row, of all heads of the batch.
    uint64_t key(int64_t row) const {
        uint64_t x = seed + 0x9e3779b97f4a7c15u * (uint64_t)(row + 1);
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
        x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
        return x ^ (x >> 31);
    }

    // Which of 32 columns from `s` on, a multiple of 32, are kept: the first 16, and the others.
    Kept kept(uint64_t key, int64_t s) const {
        if (!dropped) return {0xffff, 0xffff};
        const __m512i counted = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        __m512i x = _mm512_add_epi32(counted, _mm512_set1_epi32((int)((uint32_t)key + (uint32_t)(s / 2))));
        x = _mm512_xor_si512(x, _mm512_srli_epi32(x, 16));
        x = _mm512_mullo_epi32(x, _mm512_set1_epi32((int)0x85ebca6b));
        x = _mm512_xor_si512(x, _mm512_set1_epi32((int)(key >> 32)));
        x = _mm512_xor_si512(x, _mm512_srli_epi32(x, 13));
        x = _mm512_mullo_epi32(x, _mm512_set1_epi32((int)0xc2b2ae35));
        x = _mm512_xor_si512(x, _mm512_srli_epi32(x, 16));
        const __m512i limit = _mm512_set1_epi32((int)dropped);
        return {_mm512_cmpge_epu32_mask(_mm512_and_si512(x, _mm512_set1_epi32(0xffff)), limit),
                _mm512_cmpge_epu32_mask(_mm512_srli_epi32(x, 16), limit)};
    }
};

}  // namespace
