"""The functions of a C header that are the same for every model.

$NAME is replaced by the prefix of all names, $REAL by float or double, and @ at the end of a number
or of a function of math.h by the suffix of that type.
"""

from __future__ import annotations

NUMBER = """\
/* A number as an entry of x; a missing one is 0, which is where the median lies. */
static inline $REAL $NAME_scaled(double value, double center, double scale)
{
    double z = (value - center) * scale;
    if (isnan(z)) return 0;
    if (z > 1e100) z = 1e100;
    if (z < -1e100) z = -1e100;
    return ($REAL)(z / sqrt(1 + (z / 3) * (z / 3)));
}
"""

NORMAL = """\
/* A number with a normal distribution, by its place among Q knots. */
static inline $REAL $NAME_normal(double value, const double *knots, int Q)
{
    double p, low = -6, high = 6;
    int first = 0, last = Q - 1; /* the knots up to first are < value, those from last on are > */
    if (isnan(value) || knots[0] == knots[Q - 1]) return 0;
    if (value - 1e-7 < knots[0]) return ($REAL)-5.199337582605575;
    if (value + 1e-7 > knots[Q - 1]) return ($REAL)5.199337582605575;
    while (first + 1 < Q && knots[first + 1] < value) first++;
    while (last > 0 && knots[last - 1] > value) last--;
    if (last - first == 1)
        p = first + (value - knots[first]) / (knots[last] - knots[first]);
    else
        p = 0.5 * (first + last); /* one knot or several equal the value */
    p /= Q - 1;
    for (int i = 0; i < 60; i++) { /* the inverse of the distribution function, by bisection */
        const double z = 0.5 * (low + high);
        const int above = p < 0.5 ? 0.5 * erfc(-z * 0.7071067811865476) > p
                                  : 0.5 * erfc(z * 0.7071067811865476) < 1 - p;
        if (above) high = z; else low = z;
    }
    return ($REAL)(low < -5.199337582605575 ? -5.199337582605575
                   : low > 5.199337582605575 ? 5.199337582605575 : low);
}
"""

DATE = """\
/* Year, month, day, hour and seconds since 1970 of a time in seconds since 1970-01-01 00:00,
   with the calendar of H. Hinnant, "chrono-compatible low-level date algorithms". */
static inline void $NAME_date(double seconds, double part[5])
{
    double days = floor(seconds / 86400), since = days + 719468, era = floor(since / 146097);
    double of_era = since - era * 146097;
    double years = floor((of_era - floor(of_era / 1460) + floor(of_era / 36524)
                          - floor(of_era / 146096)) / 365);
    double of_year = of_era - (365 * years + floor(years / 4) - floor(years / 100));
    double month = floor((5 * of_year + 2) / 153);
    part[2] = of_year - floor((153 * month + 2) / 5) + 1;
    part[1] = month < 10 ? month + 3 : month - 9;
    part[0] = years + era * 400 + (part[1] <= 2);
    part[3] = floor((seconds - days * 86400) / 3600);
    part[4] = seconds;
}
"""

CATEGORY = """\
/* A category as n entries of x: low, but high at its place. */
static inline void $NAME_category($REAL *x, int n, int place, const $REAL *low, const $REAL *high)
{
    for (int j = 0; j < n; j++) x[j] = j == place ? high[j] : low[j];
}

/* The index of a word among n sorted labels; n if it is none of them. */
static inline int $NAME_find(const char *word, const char *const *labels, int n)
{
    int first = 0, end = n;
    while (first < end) {
        int middle = first + (end - first) / 2, order = strcmp(word, labels[middle]);
        if (order == 0) return middle;
        if (order < 0) end = middle; else first = middle + 1;
    }
    return n;
}
"""

MISSING_WORDS = """\
/* Whether a text stands for a missing value. */
static inline int $NAME_is_missing(const char *text)
{
    static const char *const words[] = {WORDS};
    const char *rest = text;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(text, words[i]) == 0) return 1;
    while (*rest == ' ' || (*rest >= '\\t' && *rest <= '\\r')) rest++;
    return *rest == 0;
}
"""

PARSE = """\
/* The number that a text spells; returns 0 if it spells none, which is then missing. */
static inline int $NAME_parse(const char *text, double *value)
{
    char *end;
    *value = NAN;
    if (text == NULL || $NAME_is_missing(text)) return 1;
    if (strcmp(text, "True") == 0 || strcmp(text, "False") == 0) {
        *value = *text == 'T';
        return 1;
    }
    *value = strtod(text, &end);
    while (*end == ' ' || (*end >= '\\t' && *end <= '\\r')) end++;
    if (*end == 0 && end != text) return 1;
    *value = NAN;
    return 0;
}
"""

BINS = """\
/* The piecewise-linear encoding: each bin rises from 0 at its lower end to 1 at its upper end. */
static inline void $NAME_write_bins($REAL *x)
{
    for (int i = 0; i < N_BINS; i++) {
        const $REAL low = $NAME_bin_low[i], high = $NAME_bin_high[i];
        const $REAL t = (x[$NAME_bin_source[i]] - low) / (high - low);
        x[FIRST_BIN + i] = t < 0 ? 0 : t > 1 ? 1 : t;
    }
}
"""

NETWORK = """\
typedef struct {
    int D, H;                  /* inputs and units */
    const $REAL *W, *b, *alpha; /* W has D rows of H numbers; alpha may be NULL */
    void (*f)($REAL *a, int H); /* NULL for the identity */
} $NAME_layer;
"""

FORWARD = """\
/* a = x W + b, then f(a) or, with alpha, a + alpha (f(a) - a), of every layer. */
static inline void $NAME_forward(const $NAME_layer *layers, const $REAL *x, $REAL *z)
{
    $REAL buffer[2][WIDEST];
    for (int l = 0; l < N_LAYERS; l++) {
        const $NAME_layer *layer = &layers[l];
        const int D = layer->D, H = layer->H;
        $REAL *a = l == N_LAYERS - 1 ? z : buffer[l % 2];
        for (int h = 0; h < H; h++) a[h] = layer->b[h];
        for (int d = 0; d < D; d++) {
            const $REAL x_d = x[d], *row = layer->W + (size_t)d * (size_t)H;
            if (x_d == 0) continue; /* most entries of categories and bins */
            for (int h = 0; h < H; h++) a[h] += x_d * row[h];
        }
ACTIVATE
        x = a;
    }
}
"""

ACTIVATE = """\
        if (layer->f != NULL) layer->f(a, H);"""

ACTIVATE_MIXED = """\
        if (layer->alpha != NULL) {
            $REAL mixed[WIDEST];
            for (int h = 0; h < H; h++) mixed[h] = a[h];
            if (layer->f != NULL) layer->f(mixed, H);
            for (int h = 0; h < H; h++) a[h] += layer->alpha[h] * (mixed[h] - a[h]);
        } else if (layer->f != NULL) {
            layer->f(a, H);
        }"""

EXPIT = """\
static inline $REAL $NAME_expit($REAL a)
{
    const $REAL e = exp@(-fabs@(a));
    return a > 0 ? 1 / (1 + e) : e / (1 + e);
}
"""

LOG1P_EXP = """\
static inline $REAL $NAME_log1p_exp($REAL a)
{
    return (a > 0 ? a : 0) + log1p@(exp@(-fabs@(a)));
}
"""

ELEMENTWISE = {
    "relu": "a > 0 ? a : 0",
    "leaky_relu": "a > 0 ? a : 0.01@ * a",
    "elu": "a > 0 ? a : expm1@(a)",
    "selu": "a > 0 ? 1.0507009873554805@ * a : 1.7580993408473766@ * expm1@(a)",
    "gelu": "0.5@ * a * (1 + erf@(a * 0.7071067811865476@))",
    "gelu_tanh": "0.5@ * a * (1 + tanh@(0.7978845608028654@ * (a + 0.044715@ * a * a * a)))",
    "silu": "a * $NAME_expit(a)",
    "mish": "a * tanh@($NAME_log1p_exp(a))",
    "softplus": "$NAME_log1p_exp(a)",
    "logistic": "$NAME_expit(a)",
    "tanh": "tanh@(a)",
    "cos": "cos@(a)",
    "exp": "exp@(a)",
}
"""f(a) of the activations that are the same function of each unit."""

HELPERS = {"$NAME_expit": EXPIT, "$NAME_log1p_exp": LOG1P_EXP}

APPLY = """\
static void $NAME_f_ACTIVATION($REAL *units, int H)
{
    for (int h = 0; h < H; h++) {
        const $REAL a = units[h];
        units[h] = VALUE;
    }
}
"""

COUPLED = {
    "softmax": """\
static void $NAME_f_softmax($REAL *units, int H)
{
    $REAL top = units[0], total = 0;
    for (int h = 1; h < H; h++) if (units[h] > top) top = units[h];
    for (int h = 0; h < H; h++) total += units[h] = exp@(units[h] - top);
    for (int h = 0; h < H; h++) units[h] /= total;
}
""",
    "mean_variance": """\
static void $NAME_f_mean_variance($REAL *units, int H)
{
    for (int h = H / 2; h < H; h++) units[h] = exp@(units[h]);
}
""",
}

ORDERED = """\
    double above = 1; /* z[h] is the probability of a larger class */
    for (int h = 0; h < N_OUTPUTS; h++) {
        const double next = (double)z[h] < above ? (double)z[h] : above;
        p[h] = above - next;
        above = next;
    }
    p[N_OUTPUTS] = above;
"""

MEAN = """\
/* The mean of the outputs of all networks. */
static inline void $NAME_output(const $REAL *x, $REAL *z)
{
    $REAL one[N_OUTPUTS];
    for (int h = 0; h < N_OUTPUTS; h++) z[h] = 0;
    for (int m = 0; m < N_NETWORKS; m++) {
        $NAME_forward($NAME_networks[m], x, one);
        for (int h = 0; h < N_OUTPUTS; h++) z[h] += one[h];
    }
    for (int h = 0; h < N_OUTPUTS; h++) z[h] /= N_NETWORKS;
}
"""

MIXTURE = """\
/* The mean and the variance of the mixture of all networks' Gaussians. */
static inline void $NAME_output(const $REAL *x, $REAL *z)
{
    $REAL each[N_NETWORKS][N_OUTPUTS];
    for (int h = 0; h < N_OUTPUTS; h++) z[h] = 0;
    for (int m = 0; m < N_NETWORKS; m++) {
        $NAME_forward($NAME_networks[m], x, each[m]);
        for (int h = 0; h < N_OUTPUTS; h++) z[h] += each[m][h];
    }
    for (int h = 0; h < N_OUTPUTS; h++) z[h] /= N_NETWORKS;
    for (int m = 0; m < N_NETWORKS; m++)
        for (int h = 0; h < N_OUTPUTS / 2; h++) {
            const $REAL d = each[m][h] - z[h];
            z[N_OUTPUTS / 2 + h] += d * d / N_NETWORKS;
        }
}
"""
