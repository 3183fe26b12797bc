//! `e^x` by range reduction (Cody & Waite): `2^n e^r` with `r` between plus and minus half of ln 2.

/// `e^x` in two factors.
#[derive(Debug, Clone, Copy)]
pub struct Exponential {
    /// `e^r - 1`, exact near zero.
    pub less_one: f32,
    /// `2^n`.
    pub power: f32,
}

impl Exponential {
    /// The factors of `e^x`; `x` is held between -87 and 88.
    #[inline(always)]
    pub fn of(x: f32) -> Self {
        let x = x.clamp(-87.0, 88.0);
        let n = (x * std::f32::consts::LOG2_E + 0.5).floor();
        let r = n.mul_add(-0.693_359_4, x);
        let r = n.mul_add(2.121_944_4e-4, r);
        let p = 1.987_569_1e-4_f32
            .mul_add(r, 1.398_2e-3)
            .mul_add(r, 8.333_452e-3)
            .mul_add(r, 4.166_579_6e-2)
            .mul_add(r, 1.666_666_5e-1)
            .mul_add(r, 0.5);
        // 1.5 * 2^23 + n has n in its lowest bits; a cast to an integer would mind numbers that do not fit, one lane at a time.
        let bits = (n + 12_582_912.0).to_bits().wrapping_add(127) << 23;
        Self { less_one: p.mul_add(r * r, r), power: f32::from_bits(bits) }
    }
}

/// `e^x` to about 2 units in the last place.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let parts = Exponential::of(x);
    (parts.less_one + 1.0) * parts.power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_exact_to_rounding_over_the_whole_range() {
        for i in -41_000..41_000 {
            let x = i as f32 * 0.0021;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) - exact).abs() <= 3e-7 * exact, "{x}");
            let Exponential { less_one, power } = Exponential::of(x);
            let apart = f64::from(less_one).mul_add(f64::from(power), f64::from(power));
            assert!((apart - exact).abs() <= 3e-7 * exact, "{x}");
        }
    }
}
