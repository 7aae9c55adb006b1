// Rows of bfloat16 as pairs, which the processor multiplies: of neighbours in a row ("wide"), or of the same place in
// two rows that follow each other ("twin"); tiles of sums of their products; copies in the order in which products
// read.
//
// Axes: E numbers in a row: HEAD, a multiple of 32, which is defined before this is compiled.

#include <cstring>

#include "vectors.hpp"

using Half = uint16_t;  // one bfloat16
using Pair = uint32_t;  // two

// A tensor of which the last axis, E, is without gaps; strides count numbers.
struct View {
    Half* data;
    int64_t batch, head, row;
    Half* at(int64_t b, int64_t h) const { return data + b * batch + h * head; }
};

namespace {

constexpr int64_t E = HEAD;
constexpr int64_t ROWS = 8, TILE = 32;  // a tile is ROWS x TILE sums, in half of the registers
using Tile = __m512[ROWS][2];

__m512i widened(const Half* x) { return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)x)); }
__m512 floats(const Half* x) { return _mm512_castsi512_ps(_mm512_slli_epi32(widened(x), 16)); }
__m256i halves(__m512 x) { return (__m256i)_mm512_cvtneps_pbh(x); }
void store(Half* to, __m512 x) { _mm256_storeu_si256((__m256i*)to, halves(x)); }
__m512i twins(__m512i even, __m512i odd) { return _mm512_or_si512(even, _mm512_slli_epi32(odd, 16)); }
__m512i twins(__m512 even, __m512 odd) {
    return twins(_mm512_cvtepu16_epi32(halves(even)), _mm512_cvtepu16_epi32(halves(odd)));
}

// ---- products ----

// sums[r][16 c + lane] += a[r * A_ROW + k * A_PAIR] . b[k * B_PAIR + 16 c + lane] over k < n, where . is of two pairs
template <int64_t A_ROW, int64_t A_PAIR, int64_t B_PAIR>
inline __attribute__((always_inline)) void multiply(const Pair* a, const Pair* b, int64_t n, Tile& sums) {
    for (int64_t k = 0; k < n; ++k, a += A_PAIR, b += B_PAIR) {
        const auto left = (__m512bh)_mm512_loadu_si512(b), right = (__m512bh)_mm512_loadu_si512(b + LANES);
        for (int64_t r = 0; r < ROWS; ++r) {
            const auto each = (__m512bh)_mm512_set1_epi32(a[r * A_ROW]);
            sums[r][0] = _mm512_dpbf16_ps(sums[r][0], each, left);
            sums[r][1] = _mm512_dpbf16_ps(sums[r][1], each, right);
        }
    }
}

// The same for ROWS rows of `to`, [.][E], from column 0 to TILE.
template <int64_t A_ROW, int64_t A_PAIR>
void add_product(const Pair* a, const Pair* b, int64_t n, float* to) {
    Tile sums;
    for (int64_t i = 0; i < ROWS; ++i)
        for (int64_t j = 0; j < 2; ++j) sums[i][j] = _mm512_load_ps(to + i * E + LANES * j);
    multiply<A_ROW, A_PAIR, E>(a, b, n, sums);
    for (int64_t i = 0; i < ROWS; ++i)
        for (int64_t j = 0; j < 2; ++j) _mm512_store_ps(to + i * E + LANES * j, sums[i][j]);
}

// Dot products of ROWS rows of wide pairs with TILE rows, which stand as `tiled` leaves them.
inline __attribute__((always_inline)) void compare(const Pair* rows, const Pair* tile, Tile& sums) {
    for (auto& row : sums)
        for (auto& each : row) each = _mm512_setzero_ps();
    multiply<E / 2, 1, TILE>(rows, tile, E / 2, sums);
}

// ---- copies in the order in which products read them; rows from n to `room` are zeros ----

// [n][E] as wide pairs.
void copied(const View& x, const Half* from, int64_t n, int64_t room, Pair* to) {
    for (int64_t t = 0; t < n; ++t) std::memcpy(to + t * (E / 2), from + t * x.row, E * sizeof(Half));
    std::memset(to + n * (E / 2), 0, (room - n) * E * sizeof(Half));
}

// Tiles of TILE rows, each [E / 2][TILE] wide pairs.
void tiled(const View& x, const Half* from, int64_t n, int64_t room, Pair* to) {
    const __m512i counted = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i rows = _mm512_mullo_epi32(counted, _mm512_set1_epi32((int)(x.row / 2)));
    for (int64_t t = 0; t < room; t += LANES) {
        Pair* column = to + t / TILE * (E / 2 * TILE) + t % TILE;
        const __mmask16 real = first(n - t);
        const Half* row = from + t * x.row;
        for (int64_t e = 0; e < E; e += 2, column += TILE)
            _mm512_storeu_si512(column, _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), real, rows, row + e, 4));
    }
}

// [room / 2][E] twin pairs.
void twinned(const View& x, const Half* from, int64_t n, int64_t room, Pair* to) {
    const auto row = [&](int64_t t, int64_t e) {
        return t < n ? widened(from + t * x.row + e) : _mm512_setzero_si512();
    };
    for (int64_t t = 0; t < room; t += 2)
        for (int64_t e = 0; e < E; e += LANES) _mm512_storeu_si512(to + t / 2 * E + e, twins(row(t, e), row(t + 1, e)));
}

}  // namespace
