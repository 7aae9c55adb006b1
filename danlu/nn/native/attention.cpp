// Attention in bfloat16 for processors with AVX512-BF16: forward and backward, head by head, in tiles that stay in the
// caches. Scores exist for a few queries at a time; the backward pass makes them anew from the logarithm of each
// query's sum of exponentials, as in FlashAttention (Dao et al. 2022, arXiv:2205.14135), and draws what is dropped of
// them anew. Sums are of float32.
//
// Axes: B batch, H heads, T queries, S keys, E width of a head.

#include "dropout.hpp"
#include "pairs.hpp"

// What the passes share. Of documents ([B, T] and [B, S]) or `bias` ([H, T, S]) there may be none (null).
struct Job {
    int64_t B, H, T, S;
    const int32_t *of_queries, *of_keys;
    const Half* bias;
    float scale;
    int32_t causal, padding;
    uint64_t seed;
    uint32_t dropped;  // of 65,536 weights
};

namespace {

constexpr int64_t QUERIES = 32;            // forward, at once
constexpr int64_t BLOCK = 64, KEYS = 128;  // backward: queries and keys at once; forward: keys of a block
constexpr float NEVER = -1e30f;

// ---- who sees whom in one row of the batch ----

enum class Part { none, some, all };
using Seen = __mmask16[ROWS][2];

struct Sight {
    const Job& job;
    const int32_t *of_queries, *of_keys;

    Sight(const Job& job, int64_t b)
        : job(job),
          of_queries(job.of_queries ? job.of_queries + b * job.T : nullptr),
          of_keys(job.of_queries ? job.of_keys + b * job.S : nullptr) {}

    bool sees_all_documents(int64_t t) const { return !of_queries || of_queries[t] == job.padding; }

    // Between which keys, whole tiles, are all that the queries from `start` to `stop` see.
    std::pair<int64_t, int64_t> keys(int64_t start, int64_t stop) const {
        stop = std::min(stop, job.T);
        int64_t from = 0, till = job.causal ? std::min(job.S, stop) : job.S;
        bool all = false;
        int32_t least = INT32_MAX, most = INT32_MIN;
        for (int64_t t = start; t < stop && !(all = sees_all_documents(t)); ++t)
            least = std::min(least, of_queries[t]), most = std::max(most, of_queries[t]);
        const auto other = [&](int64_t s) { return of_keys[s] < least || of_keys[s] > most; };
        while (!all && from < till && other(from)) ++from;
        while (!all && till > from && other(till - 1)) --till;
        return {from / TILE * TILE, up(till, TILE)};
    }

    // Which of TILE keys from `s` on each of ROWS queries from `t` on sees. Where all see all, `seen` may be left as it
    // was.
    Part look(int64_t t, int64_t s, Seen& seen) const {
        const bool near = s + TILE <= job.S && (!job.causal || s + TILE <= t + 1);
        if (near && !of_queries && t + ROWS <= job.T) return Part::all;
        const auto keys = [&](int64_t at) { return _mm512_maskz_loadu_epi32(first(job.S - at), of_keys + at); };
        const __m512i left = of_queries ? keys(s) : __m512i(), right = of_queries ? keys(s + LANES) : __m512i();
        int any = 0, every = 0xffff;
        for (int64_t i = 0; i < ROWS; ++i) {
            const int64_t query = t + i, till = query >= job.T ? 0 : job.causal ? std::min(job.S, query + 1) : job.S;
            seen[i][0] = first(till - s), seen[i][1] = first(till - s - LANES);
            if (query < job.T && !sees_all_documents(query)) {
                const __m512i own = _mm512_set1_epi32(of_queries[query]);
                seen[i][0] &= _mm512_cmpeq_epi32_mask(left, own), seen[i][1] &= _mm512_cmpeq_epi32_mask(right, own);
            }
            any |= seen[i][0] | seen[i][1], every &= seen[i][0] & seen[i][1];
        }
        return !any ? Part::none : every == 0xffff ? Part::all : Part::some;
    }
};

// From products of queries and keys to scores, in logarithms of base 2; what is not seen is NEVER.
inline __attribute__((always_inline)) void score(const Job& job, Part part, const Seen& seen, int64_t h, int64_t t,
                                                 int64_t s, Tile& sums) {
    const __m512 factor = _mm512_set1_ps(job.scale * LOG2E);
    for (int64_t i = 0; i < ROWS; ++i)
        for (int64_t j = 0; j < 2; ++j) {
            const int64_t key = s + LANES * j;
            __m512 each = _mm512_mul_ps(sums[i][j], factor);
            if (job.bias && t + i < job.T) {
                const __m256i read =
                    _mm256_maskz_loadu_epi16(first(job.S - key), job.bias + (h * job.T + t + i) * job.S + key);
                const __m512 bias = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(read), 16));
                each = _mm512_fmadd_ps(bias, _mm512_set1_ps(LOG2E), each);
            }
            if (part != Part::all) each = _mm512_mask_mov_ps(_mm512_set1_ps(NEVER), seen[i][j], each);
            sums[i][j] = each;
        }
}

// ---- forward ----

class Forward {
    const Job& job;
    const Dropout dropout;
    int64_t queries, keys;  // with those that fill up
    static constexpr int64_t BLOCK_OF_WEIGHTS = QUERIES * KEYS / 2;
    Room<Pair> q, k, v, weights;  // weights: for each KEYS of keys [QUERIES][KEYS / 2] wide pairs
    Room<float> scores;           // [QUERIES][keys]
    float totals[QUERIES];        // sums of exponentials

public:
    explicit Forward(const Job& job)
        : job(job),
          dropout(job.seed, job.dropped),
          queries(up(job.T, QUERIES)),
          keys(up(job.S, KEYS)),
          q(queries * E / 2),
          k(keys * E / 2),
          v(keys * E / 2),
          weights(keys / KEYS * BLOCK_OF_WEIGHTS),
          scores(QUERIES * keys) {}

    void head(int64_t b, int64_t h, const View& of_q, const View& of_k, const View& of_v, const View& out,
              float* log_T) {
        copied(of_q, of_q.at(b, h), job.T, queries, q);
        tiled(of_k, of_k.at(b, h), job.S, keys, k);
        twinned(of_v, of_v.at(b, h), job.S, keys, v);
        const Sight sight(job, b);
        for (int64_t t = 0; t < job.T; t += QUERIES) {
            const auto [from, till] = sight.keys(t, t + QUERIES);
            for (int64_t s = from; s < till; s += TILE)
                for (int64_t r = 0; r < QUERIES; r += ROWS) compare_tile(sight, h, t, r, s);
            for (int64_t r = 0; r < QUERIES; ++r) {
                const float log = softmax(r, from, till, dropout.key((b * job.H + h) * job.T + t + r));
                if (t + r < job.T) log_T[t + r] = log;
            }
            for (int64_t r = 0; r < QUERIES; r += ROWS)
                for (int64_t e = 0; e < E; e += TILE)
                    mix(r, e, from, till, job.T - t - r, out.at(b, h) + (t + r) * out.row + e, out.row);
        }
    }

private:
    void compare_tile(const Sight& sight, int64_t h, int64_t t, int64_t r, int64_t s) {
        Tile sums;
        Seen seen;
        const Part part = sight.look(t + r, s, seen);
        if (part == Part::none) {
            for (auto& row : sums)
                for (auto& each : row) each = _mm512_set1_ps(NEVER);
        } else {
            compare(q + (t + r) * (E / 2), k + s * (E / 2), sums);
            score(job, part, seen, h, t + r, s, sums);
        }
        for (int64_t i = 0; i < ROWS; ++i)
            for (int64_t j = 0; j < 2; ++j) _mm512_store_ps(scores + (r + i) * keys + s + LANES * j, sums[i][j]);
    }

    // Exponentials of a row of scores as weights, but for those that are dropped; their sum, and its logarithm, of base
    // 2.
    float softmax(int64_t r, int64_t from, int64_t till, uint64_t key) {
        const float* row = scores + r * keys;
        __m512 most = _mm512_set1_ps(NEVER), sum = _mm512_setzero_ps();
        for (int64_t s = from; s < till; s += LANES) most = _mm512_max_ps(most, _mm512_load_ps(row + s));
        const float highest = _mm512_reduce_max_ps(most);
        const float top = highest > NEVER ? highest : NAN;  // or what is not seen would be read in place of nothing
        for (int64_t s = from; s < till; s += TILE) {
            __m512 left = exp2(_mm512_sub_ps(_mm512_load_ps(row + s), _mm512_set1_ps(top)));
            __m512 right = exp2(_mm512_sub_ps(_mm512_load_ps(row + s + LANES), _mm512_set1_ps(top)));
            sum = _mm512_add_ps(sum, _mm512_add_ps(left, right));
            const Kept kept = dropout.kept(key, s);
            left = _mm512_maskz_mov_ps(kept[0], left), right = _mm512_maskz_mov_ps(kept[1], right);
            Pair* pairs = weights + s / KEYS * BLOCK_OF_WEIGHTS + (r * KEYS + s % KEYS) / 2;
            _mm512_storeu_si512(pairs, (__m512i)_mm512_cvtne2ps_pbh(right, left));
        }
        totals[r] = _mm512_reduce_add_ps(sum);
        return top + std::log2(totals[r]);
    }

    // Values by their weights, for at most `n` of ROWS rows.
    void mix(int64_t r, int64_t e, int64_t from, int64_t till, int64_t n, Half* out, int64_t stride) {
        Tile sums = {};
        for (int64_t s = from; s < till; s = up(s + 1, KEYS)) {
            const Pair* pairs = weights + s / KEYS * BLOCK_OF_WEIGHTS + (r * KEYS + s % KEYS) / 2;
            multiply<KEYS / 2, 1, E>(pairs, v + s / 2 * E + e, (std::min(till, up(s + 1, KEYS)) - s) / 2, sums);
        }
        for (int64_t i = 0; i < std::min(ROWS, n); ++i)
            for (int64_t j = 0; j < 2; ++j) {
                const __m512 share = _mm512_set1_ps(dropout.factor() / totals[r + i]);
                store(out + i * stride + LANES * j, _mm512_mul_ps(sums[i][j], share));
            }
    }
};

// ---- backward ----

struct Gradients {
    View q, k, v;
    float* bias;  // [T][S] of one head, added to; null where none is wanted
};

class Backward {
    const Job& job;
    const Dropout dropout;
    int64_t queries, keys;                             // with those that fill up
    Room<Pair> q, q_twins, g, g_twins, k, k_twins, v;  // g: the gradient of what came out
    Room<Pair> weights_twins, pulls_twins, pulls;      // [BLOCK / 2][KEYS] twice, [BLOCK][KEYS / 2]
    Room<float> grad_q, grad_k, grad_v, inner, log;    // [BLOCK][E], [keys][E] twice, [queries] twice
    Room<uint64_t> row_keys;                           // of dropout, [queries]

public:
    explicit Backward(const Job& job)
        : job(job),
          dropout(job.seed, job.dropped),
          queries(up(job.T, BLOCK)),
          keys(up(job.S, KEYS)),
          q(queries * E / 2),
          q_twins(queries * E / 2),
          g(queries * E / 2),
          g_twins(queries * E / 2),
          k(keys * E / 2),
          k_twins(keys * E / 2),
          v(keys * E / 2),
          weights_twins(BLOCK / 2 * KEYS),
          pulls_twins(BLOCK / 2 * KEYS),
          pulls(BLOCK * KEYS / 2),
          grad_q(BLOCK * E),
          grad_k(keys * E),
          grad_v(keys * E),
          inner(queries),
          log(queries),
          row_keys(queries) {}

    void head(int64_t b, int64_t h, const View& of_q, const View& of_k, const View& of_v, const View& out,
              const View& of_g, const float* log_T, const Gradients& grads) {
        copied(of_q, of_q.at(b, h), job.T, queries, q);
        twinned(of_q, of_q.at(b, h), job.T, queries, q_twins);
        copied(of_g, of_g.at(b, h), job.T, queries, g);
        twinned(of_g, of_g.at(b, h), job.T, queries, g_twins);
        tiled(of_k, of_k.at(b, h), job.S, keys, k);
        twinned(of_k, of_k.at(b, h), job.S, keys, k_twins);
        tiled(of_v, of_v.at(b, h), job.S, keys, v);
        std::memset(grad_k, 0, keys * E * sizeof(float));
        std::memset(grad_v, 0, keys * E * sizeof(float));
        for (int64_t t = 0; t < job.T; ++t) {
            __m512 sum = _mm512_setzero_ps();
            for (int64_t e = 0; e < E; e += LANES)
                sum = _mm512_fmadd_ps(floats(out.at(b, h) + t * out.row + e), floats(of_g.at(b, h) + t * of_g.row + e),
                                      sum);
            inner[t] = _mm512_reduce_add_ps(sum);
            log[t] = log_T[t];
            row_keys[t] = dropout.key((b * job.H + h) * job.T + t);
        }
        for (int64_t t = job.T; t < queries; ++t) inner[t] = log[t] = 0.0f, row_keys[t] = 0;
        const Sight sight(job, b);
        for (int64_t t = 0; t < job.T; t += BLOCK) {
            std::memset(grad_q, 0, BLOCK * E * sizeof(float));
            const auto [from, till] = sight.keys(t, t + BLOCK);
            for (int64_t s = from; s < till; s += KEYS) block(sight, h, t, s, std::min(KEYS, till - s), grads.bias);
            put(grad_q, std::min(BLOCK, job.T - t), job.scale, grads.q.at(b, h) + t * grads.q.row, grads.q.row);
        }
        put(grad_k, job.S, job.scale, grads.k.at(b, h), grads.k.row);
        put(grad_v, job.S, dropout.factor(), grads.v.at(b, h), grads.v.row);
    }

private:
    // What BLOCK queries from `t` and `n` keys from `s` add to all gradients.
    void block(const Sight& sight, int64_t h, int64_t t, int64_t s, int64_t n, float* bias) {
        for (int64_t c = 0; c < n; c += TILE)
            for (int64_t r = 0; r < BLOCK; r += ROWS) pull_tile(sight, h, t, r, s, c, bias);
        for (int64_t e = 0; e < E; e += TILE) {
            for (int64_t r = 0; r < BLOCK; r += ROWS)
                add_product<KEYS / 2, 1>(pulls + r * (KEYS / 2), k_twins + s / 2 * E + e, n / 2, grad_q + r * E + e);
            for (int64_t c = 0; c < n; c += ROWS) {
                add_product<1, KEYS>(pulls_twins + c, q_twins + t / 2 * E + e, BLOCK / 2, grad_k + (s + c) * E + e);
                add_product<1, KEYS>(weights_twins + c, g_twins + t / 2 * E + e, BLOCK / 2, grad_v + (s + c) * E + e);
            }
        }
    }

    // The weights of a tile that are not dropped, and the gradient of its scores ("pulls").
    void pull_tile(const Sight& sight, int64_t h, int64_t t, int64_t r, int64_t s, int64_t c, float* bias) {
        Tile of_weights = {}, of_pulls = {};
        Seen seen;
        const Part part = sight.look(t + r, s + c, seen);
        if (part != Part::none) {
            compare(q + (t + r) * (E / 2), k + (s + c) * (E / 2), of_weights);
            score(job, part, seen, h, t + r, s + c, of_weights);
            for (int64_t i = 0; i < ROWS; ++i)
                for (auto& each : of_weights[i]) each = exp2(_mm512_sub_ps(each, _mm512_set1_ps(log[t + r + i])));
            compare(g + (t + r) * (E / 2), v + (s + c) * (E / 2), of_pulls);
            for (int64_t i = 0; i < ROWS; ++i) {
                const Kept kept = dropout.kept(row_keys[t + r + i], s + c);
                for (int64_t j = 0; j < 2; ++j) {
                    const __m512 pull = _mm512_maskz_mul_ps(kept[j], of_pulls[i][j], _mm512_set1_ps(dropout.factor()));
                    const __m512 apart = _mm512_sub_ps(pull, _mm512_set1_ps(inner[t + r + i]));
                    of_pulls[i][j] = _mm512_mul_ps(of_weights[i][j], apart);
                    of_weights[i][j] = _mm512_maskz_mov_ps(kept[j], of_weights[i][j]);
                }
            }
            if (bias) add_to_bias(of_pulls, t + r, s + c, bias);
        }
        store_twins(of_weights, weights_twins + r / 2 * KEYS + c);
        store_twins(of_pulls, pulls_twins + r / 2 * KEYS + c);
        for (int64_t i = 0; i < ROWS; ++i) {
            const auto wide = (__m512i)_mm512_cvtne2ps_pbh(of_pulls[i][1], of_pulls[i][0]);
            _mm512_store_si512(pulls + ((r + i) * KEYS + c) / 2, wide);
        }
    }

    static void store_twins(const Tile& sums, Pair* to) {
        for (int64_t i = 0; i < ROWS; i += 2)
            for (int64_t j = 0; j < 2; ++j)
                _mm512_store_si512(to + i / 2 * KEYS + LANES * j, twins(sums[i][j], sums[i + 1][j]));
    }

    void add_to_bias(const Tile& sums, int64_t t, int64_t s, float* bias) const {
        for (int64_t i = 0; i < std::min(ROWS, job.T - t); ++i)
            for (int64_t j = 0; j < 2; ++j) {
                float* to = bias + (t + i) * job.S + s + LANES * j;
                const __mmask16 real = first(job.S - s - LANES * j);
                _mm512_mask_storeu_ps(to, real, _mm512_add_ps(_mm512_maskz_loadu_ps(real, to), sums[i][j]));
            }
    }

    static void put(const float* from, int64_t n, float scale, Half* to, int64_t stride) {
        for (int64_t t = 0; t < n; ++t)
            for (int64_t e = 0; e < E; e += LANES)
                store(to + t * stride + e, _mm512_mul_ps(_mm512_load_ps(from + t * E + e), _mm512_set1_ps(scale)));
    }
};

}  // namespace

// `log_BHT`: of base 2, of each query's sum of exponentials.
extern "C" void attend(Job job, View q, View k, View v, View out, float* log_BHT) {
#pragma omp parallel
    {
        Forward forward(job);
#pragma omp for schedule(dynamic)
        for (int64_t n = 0; n < job.B * job.H; ++n)
            forward.head(n / job.H, n % job.H, q, k, v, out, log_BHT + n * job.T);
    }
}

// `grad_bias`: [H, T, S] in float32, of zeros, or null. Where it is wanted, a head is one thread's in all of the batch.
extern "C" void attend_backward(Job job, View q, View k, View v, View out, View grad, const float* log_BHT, View grad_q,
                                View grad_k, View grad_v, float* grad_bias) {
    const int64_t together = grad_bias ? job.B : 1, pieces = job.B * job.H / together;
#pragma omp parallel
    {
        Backward backward(job);
#pragma omp for schedule(dynamic)
        for (int64_t piece = 0; piece < pieces; ++piece)
            for (int64_t n = 0; n < together; ++n) {
                const int64_t b = grad_bias ? n : piece / job.H, h = piece % job.H;
                const Gradients grads{grad_q, grad_k, grad_v, grad_bias ? grad_bias + h * job.T * job.S : nullptr};
                backward.head(b, h, q, k, v, out, grad, log_BHT + (b * job.H + h) * job.T, grads);
            }
    }
}
