// The cross entropy of logits that are sums of products of integers, row by row, so that a row stays in the cache; and
// how strongly each word but the target is pushed down, in int8, rounded up as often as it is far on the way there.
// It is `narrow_chunk_loss` of narrow_loss.py; int8_head.py says why.
//
// Axes: N tokens, V vocabulary.

#include "vectors.hpp"

struct Job {
    int64_t N, V;
    const int32_t* sums_NV;
    const float *scale_N, *scale_V;  // of rows and of words
    const int64_t* targets_N;
    int8_t* out_NV;
    float *loss_N, *scale_of_out_N, *pull_N;
    int64_t first;
    float cap, smoothing, z_loss;  // cap: 0 where there is none
    float least_share, most;       // the smallest scale, as a share; what the largest number of a row is to become
    int32_t odd, by_row, by_word, bits;
};

namespace {

// 1 / x for x from 1 on, to about 1e-7 of itself.
__m512 inverse(__m512 x) {
    const __m512 near = _mm512_rcp14_ps(x);
    return _mm512_mul_ps(near, _mm512_fnmadd_ps(x, near, _mm512_set1_ps(2.0f)));
}

class Row {
    const Job& job;
    const bool capped, bounded;
    Room<float> values, weights;  // logits, or with a cap their hyperbolic tangents; exponentials, later pushes
    float highest = 0.0f;

    // Exponentials of what is in `values`, and their sum.
    float exponentials() {
        const __m512 scale = _mm512_set1_ps((capped ? job.cap : 1.0f) * LOG2E), top = _mm512_set1_ps(highest * LOG2E);
        __m512 sum = _mm512_setzero_ps();
        for (int64_t v = 0; v < job.V; v += LANES) {
            const __m512 each = exp2(_mm512_fmsub_ps(_mm512_load_ps(values + v), scale, top));
            const __m512 real = _mm512_maskz_mov_ps(first(job.V - v), each);
            _mm512_store_ps(weights + v, real);
            sum = _mm512_add_ps(sum, real);
        }
        return _mm512_reduce_add_ps(sum);
    }

    // Logits of row `n` into `values`; their highest, or what bounds them; the sum of capped ones.
    float read(int64_t n) {
        const int32_t* from = job.sums_NV + n * job.V;
        const __m512 scale = _mm512_set1_ps(job.scale_N[n]),
                     factor = _mm512_set1_ps(capped ? 2.0f / job.cap * LOG2E : 1.0f);
        __m512 most = _mm512_set1_ps(-INFINITY), sum = _mm512_setzero_ps();
        for (int64_t v = 0; v < job.V; v += LANES) {
            const __mmask16 real = first(job.V - v);
            const __m512 by = _mm512_mul_ps(scale, _mm512_maskz_loadu_ps(real, job.scale_V + v));
            __m512 each = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(real, from + v)), by);
            if (capped) {
                const __m512 power = exp2(_mm512_min_ps(_mm512_mul_ps(each, factor), _mm512_set1_ps(100.0f)));
                const __m512 share = inverse(_mm512_add_ps(power, _mm512_set1_ps(1.0f)));
                each = _mm512_fnmadd_ps(_mm512_set1_ps(2.0f), share, _mm512_set1_ps(1.0f));
            }
            _mm512_store_ps(values + v, each);
            most = _mm512_mask_max_ps(most, real, most, each);
            sum = _mm512_mask_add_ps(sum, real, sum, each);
        }
        const float size = capped ? job.cap : 1.0f;
        highest = bounded ? job.cap : _mm512_reduce_max_ps(most) * size;
        return _mm512_reduce_add_ps(sum) * size;
    }

    float slope(int64_t v) const { return capped ? 1.0f - values[v] * values[v] : 1.0f; }

    // From exponentials to pushes, which are 0 at the target; the largest.
    float push(int64_t target, float share, float elsewhere) {
        const __m512 one = _mm512_set1_ps(1.0f), by = _mm512_set1_ps(share), less = _mm512_set1_ps(elsewhere);
        weights[target] = 0.0f;
        __m512 most = _mm512_setzero_ps();
        for (int64_t v = 0; v < job.V; v += LANES) {
            __m512 each = _mm512_fmsub_ps(_mm512_load_ps(weights + v), by, less);
            if (capped) {
                const __m512 tanh = _mm512_load_ps(values + v);
                each = _mm512_mul_ps(each, _mm512_fnmadd_ps(tanh, tanh, one));
            }
            __mmask16 real = first(job.V - v);
            if (target >= v && target < v + LANES) real &= ~(1u << (target - v));
            each = _mm512_maskz_mov_ps(real, each);
            _mm512_store_ps(weights + v, each);
            most = _mm512_max_ps(most, _mm512_abs_ps(each));
        }
        return _mm512_reduce_max_ps(most);
    }

    // Pushes in int8, by chance up or down, which a hash of the sums and of their places decides.
    void narrow(int64_t n, float factor) {
        const __m512i odd = _mm512_set1_epi32(job.odd), mask = _mm512_set1_epi32((1 << job.bits) - 1);
        const __m512i counted = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        const __m512i row = _mm512_set1_epi32((int32_t)((uint32_t)(n + job.first) * (uint32_t)job.by_row));
        const __m512 by = _mm512_set1_ps(factor), unit = _mm512_set1_ps(std::ldexp(1.0f, -job.bits));
        const __m512i by_word = _mm512_set1_epi32(job.by_word);
        for (int64_t v = 0; v < job.V; v += LANES) {
            const __mmask16 real = first(job.V - v);
            const __m512i word = _mm512_mullo_epi32(_mm512_add_epi32(counted, _mm512_set1_epi32((int32_t)v)), by_word);
            __m512i hash = _mm512_add_epi32(_mm512_maskz_loadu_epi32(real, job.sums_NV + n * job.V + v),
                                            _mm512_add_epi32(row, word));
            hash = _mm512_and_si512(_mm512_srli_epi32(_mm512_mullo_epi32(hash, odd), 32 - job.bits), mask);
            const __m512 spread = _mm512_mul_ps(_mm512_add_ps(_mm512_cvtepi32_ps(hash), _mm512_set1_ps(0.5f)), unit);
            const __m512 there = _mm512_floor_ps(_mm512_fmadd_ps(_mm512_load_ps(weights + v), by, spread));
            _mm512_mask_cvtepi32_storeu_epi8(job.out_NV + n * job.V + v, real, _mm512_cvtps_epi32(there));
        }
    }

public:
    explicit Row(const Job& job)
        : job(job),
          capped(job.cap != 0.0f),
          bounded(capped && job.cap <= BOUNDING_CAP),
          values(up(job.V, LANES)),
          weights(up(job.V, LANES)) {}

    void loss(int64_t n) {
        const bool scored = job.targets_N[n] >= 0;
        const int64_t target = std::max<int64_t>(job.targets_N[n], 0);
        const float together = read(n), total = exponentials(), log_total = highest + std::log(total);
        const float value = values[target] * (capped ? job.cap : 1.0f), elsewhere = job.smoothing / job.V;
        const float share = (1.0f + 2.0f * job.z_loss * log_total) / total,
                    at_target = weights[target] * share - elsewhere;
        const float wanted = (1.0f - job.smoothing) * value + elsewhere * together;
        const float most = std::max(push(target, share, elsewhere), job.least_share);
        narrow(n, job.most / most);
        job.loss_N[n] = scored ? log_total - wanted + job.z_loss * log_total * log_total : 0.0f;
        job.scale_of_out_N[n] = scored ? most / job.most : 0.0f;
        job.pull_N[n] = scored ? (at_target - (1.0f - job.smoothing)) * slope(target) : 0.0f;
    }
};

}  // namespace

extern "C" void narrow_losses(Job job) {
#pragma omp parallel
    {
        Row row(job);
#pragma omp for
        for (int64_t n = 0; n < job.N; ++n) row.loss(n);
    }
}
