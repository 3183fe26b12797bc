//! Slaney's mel scale, as speech recognizers and speaker embedders of the public have it.

/// Logarithm of the step between mel above 1 kHz.
fn step() -> f64 {
    6.4_f64.ln() / 27.0
}

/// Triangular filters of unit area from 0 Hz to half of `rate_hz`: `[n_bands, n_bins]`, row by row.
pub(crate) fn slaney_filters(rate_hz: u32, n_bands: usize, n_bins: usize) -> Vec<f64> {
    let hz = |mel: f64| {
        if mel < 15.0 { 200.0 / 3.0 * mel } else { 1000.0 * (step() * (mel - 15.0)).exp() }
    };
    let half = f64::from(rate_hz) / 2.0;
    let top = 15.0 + (half / 1000.0).ln() / step();
    let edges: Vec<f64> = (0..n_bands + 2).map(|i| hz(top * i as f64 / (n_bands + 1) as f64)).collect();
    let mut filters = Vec::with_capacity(n_bands * n_bins);
    for band in edges.windows(3) {
        for bin in 0..n_bins {
            let at = half * bin as f64 / (n_bins - 1) as f64;
            let rise = (at - band[0]) / (band[1] - band[0]);
            let fall = (band[2] - at) / (band[2] - band[1]);
            filters.push(rise.min(fall).max(0.0) * 2.0 / (band[2] - band[0]));
        }
    }
    filters
}
