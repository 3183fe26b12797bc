//! Functions of single values, in a form that vectorises.

use super::rows::RowBuffer;
use harmonica_numerics::{Exponential, exp};
use pulp::{Arch, Simd, WithSimd};

/// `e^x - 1`, exact near zero as well.
#[inline(always)]
fn exp_less_one(x: f32) -> f32 {
    let Exponential { less_one, power } = Exponential::of(x);
    // Between the factors: e^x - 1 = 2^n (e^r - 1) + (2^n - 1).
    less_one.mul_add(power, power - 1.0)
}

#[inline(always)]
fn elu_at(x: f32) -> f32 {
    if x > 0.0 { x } else { exp_less_one(x) }
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline(always)]
fn tanh(x: f32) -> f32 {
    let less_one = exp_less_one(-2.0 * x.abs());
    (-less_one / (2.0 + less_one)).copysign(x)
}

/// Appends the exponential linear units of values: `x`, or `e^x - 1` below zero.
pub(crate) fn extend_elu(out: &mut RowBuffer, values: &[f32]) {
    Arch::new().dispatch(Elu { values, out: out.space(values.len()) });
}

/// One step of a long short-term memory: `gates` are those of input, forgetting, cell and output, each as wide as `cell`.
pub(crate) fn lstm_step(gates: &[f32], cell: &mut [f32], hidden: &mut [f32]) {
    Arch::new().dispatch(LstmStep { gates, cell, hidden });
}

// Types of their own, because closures come with functions that the compiler may leave without the vector instructions chosen here.
struct Elu<'a> {
    values: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Elu<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (out, x) in self.out.iter_mut().zip(self.values) {
            *out = elu_at(*x);
        }
    }
}

struct LstmStep<'a> {
    gates: &'a [f32],
    cell: &'a mut [f32],
    hidden: &'a mut [f32],
}

impl WithSimd for LstmStep<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { gates, cell, hidden } = self;
        let width = cell.len();
        let (input, rest) = gates.split_at(width);
        let (forget, rest) = rest.split_at(width);
        let (candidate, output) = rest.split_at(width);
        let (output, hidden) = (&output[..width], &mut hidden[..width]);
        for i in 0..width {
            cell[i] = sigmoid(forget[i]).mul_add(cell[i], sigmoid(input[i]) * tanh(candidate[i]));
            hidden[i] = sigmoid(output[i]) * tanh(cell[i]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_exact_to_rounding_over_the_whole_range() {
        for i in -40_000..40_000 {
            let x = i as f32 * 0.0021;
            let exact = f64::from(x);
            let elu = if exact > 0.0 { exact } else { exact.exp_m1() };
            for (found, exact) in
                [(elu_at(x), elu), (tanh(x), exact.tanh()), (sigmoid(x), 1.0 / (1.0 + (-exact).exp()))]
            {
                let error = (f64::from(found) - exact).abs();
                assert!(error <= 4e-7 * exact.abs().max(1e-30), "{x}: {found} {exact}");
            }
        }
    }
}
