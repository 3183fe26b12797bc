//! Randomness as a pure function of (seed, purpose, position): nothing to save, nothing to restore.
//!
//! SplitMix64 (Steele, Lea & Flood 2014) over a state mixed from the key. Invariant: the same key gives the same numbers
//! on every machine, whatever was drawn before.

/// A short stream of numbers that belongs to one key.
#[derive(Debug, Clone)]
pub struct RandomStream {
    state: u64,
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl RandomStream {
    /// The stream of a key: `purpose` names what the numbers are for, `position` where (update, micro-step, item...).
    pub fn new(seed: u64, purpose: &str, position: &[u64]) -> Self {
        let mut state = mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15));
        for byte in purpose.bytes() {
            state = mix(state ^ u64::from(byte)).wrapping_add(0x9e37_79b9_7f4a_7c15);
        }
        for value in position {
            state = mix(state ^ mix(value.wrapping_add(1))).wrapping_add(0x9e37_79b9_7f4a_7c15);
        }
        Self { state }
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// Uniform in 0..1.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in `0..n`.
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "a draw needs at least one outcome");
        ((u128::from(self.next_u64()) * n as u128) >> 64) as usize
    }

    /// Standard normal (Box & Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Puts a slice into random order (Fisher & Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_every_part_of_their_key_and_repeat() {
        let first = |seed, purpose, position: &[u64]| RandomStream::new(seed, purpose, position).next_u64();
        let base = first(1, "noise", &[2, 3]);
        assert_eq!(base, first(1, "noise", &[2, 3]));
        for other in [
            first(2, "noise", &[2, 3]),
            first(1, "order", &[2, 3]),
            first(1, "noise", &[3, 2]),
            first(1, "noise", &[2]),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn draws_have_the_moments_of_their_distribution() {
        let mut stream = RandomStream::new(5, "test", &[]);
        let n = 20_000;
        let normal: Vec<f64> = (0..n).map(|_| stream.normal()).collect();
        let mean = normal.iter().sum::<f64>() / f64::from(n);
        let variance = normal.iter().map(|x| x * x).sum::<f64>() / f64::from(n);
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
        let mut counts = [0; 7];
        (0..7000).for_each(|_| counts[stream.below(7)] += 1);
        assert!(counts.iter().all(|c| (850..1150).contains(c)), "{counts:?}");
    }
}
