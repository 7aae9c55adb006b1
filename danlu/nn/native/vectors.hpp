// What the files beside this one share: numbers by sixteens, for processors with AVX-512. It stands before each of
// them.

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>

namespace {

constexpr int64_t LANES = 16;
constexpr float LOG2E = 1.4426950408889634f, LN2 = 0.6931471805599453f;

int64_t up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

// Room for `n` numbers that starts with a line of the cache.
template <class T>
class Room {
    struct Free {
        void operator()(T* p) const { std::free(p); }
    };
    std::unique_ptr<T, Free> start;

public:
    explicit Room(int64_t n) : start(static_cast<T*>(std::aligned_alloc(64, up(n * sizeof(T), 64)))) {
        if (!start) std::fputs("no memory for a kernel of danlu\n", stderr), std::abort();
    }
    operator T*() const { return start.get(); }
};

__mmask16 first(int64_t n) { return n >= LANES ? 0xffff : n <= 0 ? 0 : (__mmask16)((1u << n) - 1); }

// 2^x to about 2e-7 of itself; 0 far below. By the series of 2^f on [-1/2, 1/2], f the rest of x beyond an integer.
__m512 exp2(__m512 x) {
    const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 f = _mm512_sub_ps(x, whole);
    __m512 sum = _mm512_set1_ps(1.5403530e-4f);
    for (const float each : {1.3333558e-3f, 9.6181291e-3f, 5.5504109e-2f, 2.4022651e-1f, 6.9314718e-1f, 1.0f})
        sum = _mm512_fmadd_ps(sum, f, _mm512_set1_ps(each));
    return _mm512_scalef_ps(sum, whole);
}

}  // namespace
