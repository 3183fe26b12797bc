//! Products of many rows with a fixed matrix: the one operation that all layers come down to.
//!
//! A convolution over `[T, C]` is a product of overlapping rows (`kernel * C` values, `stride * C` apart) with its weights,
//! so nothing is copied together first. The matrix is packed once, in panels that fill vector registers.
//! Invariant: a row's result depends on that row alone: neither on how many rows come with it nor on the number of threads.
//! That is what makes streaming equal to offline bit for bit.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Products of so many terms are summed before they are added to the rest; what is multiplied then stays in the caches.
const DEPTH_BLOCK: usize = 256;
/// Rows that one task takes; their inputs stay in the cache while the matrix passes by.
const TASK_ROWS: usize = 96;
/// Multiplications below which one thread is quicker than several.
const PARALLEL_PRODUCTS: usize = 1 << 20;

/// A matrix `[depth, columns]`, packed for products with rows.
#[derive(Debug, Clone)]
pub(crate) struct PackedMatrix {
    /// Panels `[depth, panel_width]`, one after the other; the last one is filled up with zeros.
    panels: Vec<f32>,
    depth: usize,
    columns: usize,
    panel_width: usize,
}

/// `count` rows inside of `values`, each `step` values after the one before; they may overlap.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) step: usize,
    pub(crate) count: usize,
}

impl PackedMatrix {
    /// Packs `value(row, column)`.
    pub(crate) fn new(depth: usize, columns: usize, value: impl Fn(usize, usize) -> f32) -> Self {
        let panel_width = panel_width(columns);
        let mut panels = Vec::with_capacity(columns.next_multiple_of(panel_width) * depth);
        for first in (0..columns).step_by(panel_width) {
            for k in 0..depth {
                panels.extend(
                    (first..first + panel_width).map(|n| if n < columns { value(k, n) } else { 0.0 }),
                );
            }
        }
        Self { panels, depth, columns, panel_width }
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// `out [count, columns] = rows [count, depth] * self + bias [columns]`.
    pub(crate) fn multiply(&self, rows: Rows, bias: &[f32], out: &mut [f32]) {
        assert_eq!(out.len(), rows.count * self.columns, "the output has another shape");
        let task_rows = if rows.count * self.depth * self.columns < PARALLEL_PRODUCTS {
            rows.count
        } else {
            TASK_ROWS.min(rows.count.div_ceil(rayon::current_num_threads()).next_multiple_of(12))
        };
        if rows.count <= task_rows {
            return self.multiply_task(rows, bias, out);
        }
        out.par_chunks_mut(task_rows * self.columns).enumerate().for_each(|(task, out)| {
            let values = &rows.values[task * task_rows * rows.step..];
            self.multiply_task(Rows { values, count: out.len() / self.columns, ..rows }, bias, out);
        });
    }

    /// `out [columns] += row [depth] * self`, as a product of one row of many, for matrices that are larger than a cache: whoever passes them
    /// again and again in turn forwards and backwards finds the half still there that came last.
    pub(crate) fn add_row(&self, row: &[f32], backwards: bool, out: &mut [f32]) {
        assert!(
            row.len() == self.depth && out.len() == self.columns,
            "the row or the output has another shape"
        );
        Arch::new().dispatch(RowTask { matrix: self, row, backwards, out });
    }

    fn multiply_task(&self, rows: Rows, bias: &[f32], out: &mut [f32]) {
        if rows.count > 0 {
            Arch::new().dispatch(Task { matrix: self, rows, bias, out });
        }
    }
}

/// Two vectors of the widest kind, or what leaves registers for enough rows beside it where there are only 16 of them.
fn panel_width(columns: usize) -> usize {
    if columns > 16 && Arch::new().dispatch(Lanes) == 16 { 32 } else { 16 }
}

/// Values of one vector.
struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

struct Task<'a> {
    matrix: &'a PackedMatrix,
    rows: Rows<'a>,
    bias: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // Vectors a panel, and as many rows as leave registers for the panel and one input: 32 registers, 16, 32. Conditions are constants,
        // so that a processor's code holds its own shapes only.
        if const { S::F32_LANES == 16 } {
            if self.matrix.panel_width == 32 {
                self.run::<S, 12, 2>(simd)
            } else {
                self.run::<S, 12, 1>(simd)
            }
        } else if const { S::F32_LANES == 8 } {
            self.run::<S, 6, 2>(simd)
        } else if const { S::F32_LANES == 4 } {
            self.run::<S, 6, 4>(simd)
        } else {
            self.run::<S, 1, 16>(simd)
        }
    }
}

impl Task<'_> {
    #[inline(always)]
    fn run<S: Simd, const M: usize, const V: usize>(self, simd: S) {
        let Self { matrix: &PackedMatrix { ref panels, depth, columns, panel_width }, rows, bias, out } =
            self;
        for (panel, first) in
            panels.chunks_exact((depth * panel_width).max(1)).zip((0..).step_by(panel_width))
        {
            let width = panel_width.min(columns - first);
            let blocks = panel.chunks(DEPTH_BLOCK * panel_width);
            for (block, start) in blocks.zip((0..).step_by(DEPTH_BLOCK)) {
                let add = if start == 0 { Some(&bias[first..first + width]) } else { None };
                let mut row = 0;
                while row + M <= rows.count {
                    let values = &rows.values[row * rows.step + start..];
                    let sums = tile::<S, M, V>(simd, values, rows.step, block);
                    for (i, sums) in sums.iter().enumerate() {
                        store(simd, sums, add, &mut out[(row + i) * columns + first..][..width]);
                    }
                    row += M;
                }
                while row < rows.count {
                    let values = &rows.values[row * rows.step + start..];
                    let [sums] = tile::<S, 1, V>(simd, values, rows.step, block);
                    store(simd, &sums, add, &mut out[row * columns + first..][..width]);
                    row += 1;
                }
            }
        }
    }
}

struct RowTask<'a> {
    matrix: &'a PackedMatrix,
    row: &'a [f32],
    backwards: bool,
    out: &'a mut [f32],
}

impl WithSimd for RowTask<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // Panels side by side: more sums than one panel has hide the delay of each, and memory is read at several places at once.
        if const { S::F32_LANES == 16 } {
            if self.matrix.panel_width == 32 { self.run::<S, 4, 2>(simd) } else { self.run::<S, 4, 1>(simd) }
        } else if const { S::F32_LANES == 8 } {
            self.run::<S, 4, 2>(simd)
        } else if const { S::F32_LANES == 4 } {
            self.run::<S, 2, 4>(simd)
        } else {
            self.run::<S, 1, 16>(simd)
        }
    }
}

impl RowTask<'_> {
    #[inline(always)]
    fn run<S: Simd, const P: usize, const V: usize>(self, simd: S) {
        let Self { matrix: &PackedMatrix { ref panels, depth, panel_width, .. }, row, backwards, out } = self;
        let size = (depth * panel_width).max(1);
        let n_panels = panels.len() / size;
        let n_groups = n_panels.div_ceil(P);
        for i in 0..n_groups {
            let group = if backwards { n_groups - 1 - i } else { i };
            let first = group * P;
            let panels = &panels[first * size..];
            let out = &mut out[first * panel_width..];
            if first + P <= n_panels {
                row_of_panels::<S, P, V>(simd, row, panels, size, out);
            } else {
                for (panel, out) in panels.chunks_exact(size).zip(out.chunks_mut(panel_width)) {
                    row_of_panels::<S, 1, V>(simd, row, panel, size, out);
                }
            }
        }
    }
}

/// Adds the products of one row with `P` panels of `size` values each.
#[inline(always)]
fn row_of_panels<S: Simd, const P: usize, const V: usize>(
    simd: S,
    row: &[f32],
    panels: &[f32],
    size: usize,
    out: &mut [f32],
) {
    let panels: [&[[S::f32s; V]]; P] = std::array::from_fn(|i| {
        let (panel, _) = S::as_simd_f32s(&panels[i * size..][..size]);
        &panel.as_chunks::<V>().0[..row.len()]
    });
    let width = V * S::F32_LANES;
    for (values, start) in row.chunks(DEPTH_BLOCK).zip((0..).step_by(DEPTH_BLOCK)) {
        let panels: [&[[S::f32s; V]]; P] = std::array::from_fn(|i| &panels[i][start..][..values.len()]);
        let mut sums = [[simd.splat_f32s(0.0); V]; P];
        for k in 0..values.len() {
            let x = simd.splat_f32s(values[k]);
            for i in 0..P {
                for v in 0..V {
                    sums[i][v] = simd.mul_add_e_f32s(x, panels[i][k][v], sums[i][v]);
                }
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            let end = out.len().min((i + 1) * width);
            store(simd, sums, None, &mut out[i * width..end]);
        }
    }
}

/// Products of `M` rows with a block of a panel.
#[inline(always)]
fn tile<S: Simd, const M: usize, const V: usize>(
    simd: S,
    values: &[f32],
    step: usize,
    block: &[f32],
) -> [[S::f32s; V]; M] {
    let (block, _) = S::as_simd_f32s(block);
    let (block, _) = block.as_chunks::<V>();
    let depth = block.len();
    let rows: [&[f32]; M] = std::array::from_fn(|i| &values[i * step..][..depth]);
    let mut sums = [[simd.splat_f32s(0.0); V]; M];
    for k in 0..depth {
        for i in 0..M {
            let x = simd.splat_f32s(rows[i][k]);
            for v in 0..V {
                sums[i][v] = simd.mul_add_e_f32s(x, block[k][v], sums[i][v]);
            }
        }
    }
    sums
}

/// Writes one row of a tile.
#[inline(always)]
fn store<S: Simd, const V: usize>(simd: S, sums: &[S::f32s; V], bias: Option<&[f32]>, out: &mut [f32]) {
    if let Some(bias) = bias {
        out.copy_from_slice(bias);
    }
    let (vectors, rest) = S::as_mut_simd_f32s(out);
    for (out, sum) in vectors.iter_mut().zip(sums) {
        *out = simd.add_f32s(*out, *sum);
    }
    if !rest.is_empty() {
        let sum = simd.add_f32s(simd.partial_load_f32s(rest), sums[vectors.len()]);
        simd.partial_store_f32s(rest, sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harmonica_config_schema::RandomStream;

    #[test]
    fn the_vectors_that_a_processor_has_are_used() {
        let lanes = Arch::new().dispatch(Lanes);
        #[cfg(target_arch = "x86_64")]
        let least = if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") { 8 } else { 1 };
        #[cfg(target_arch = "aarch64")]
        let least = 4;
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let least = 1;
        assert!(lanes >= least, "{lanes} values at a time, {least} are possible");
    }

    #[test]
    fn products_are_right_for_every_shape_and_rows_do_not_know_of_each_other() {
        let mut random = RandomStream::new(3, "matrix", &[]);
        let mut draw = |n: usize| -> Vec<f32> { (0..n).map(|_| random.uniform() as f32 - 0.5).collect() };
        for (count, depth, columns, step) in [
            (1, 1, 1, 1),
            (13, 7, 32, 1),
            (100, 600, 33, 40),
            (25, 300, 16, 300),
            (5, 257, 40, 3),
            (2, 9, 1, 5),
            (1, 300, 300, 300),
        ] {
            let values = draw((count - 1) * step + depth);
            let (weights, bias) = (draw(depth * columns), draw(columns));
            let matrix = PackedMatrix::new(depth, columns, |k, n| weights[k * columns + n]);
            let rows = Rows { values: &values, step, count };
            let mut out = vec![0.0; count * columns];
            matrix.multiply(rows, &bias, &mut out);
            for row in 0..count {
                for column in 0..columns {
                    let products = (0..depth).map(|k| {
                        f64::from(values[row * step + k]) * f64::from(weights[k * columns + column])
                    });
                    let expected = f64::from(bias[column]) + products.sum::<f64>();
                    let found = f64::from(out[row * columns + column]);
                    assert!((found - expected).abs() < 1e-5, "{found} {expected}");
                }
                let mut alone = vec![0.0; columns];
                let values = &values[row * step..];
                matrix.multiply(Rows { values, step, count: 1 }, &bias, &mut alone);
                assert_eq!(alone, out[row * columns..][..columns], "row {row} of {count}");
                for backwards in [false, true] {
                    let mut added = bias.clone();
                    matrix.add_row(&values[..depth], backwards, &mut added);
                    assert_eq!(added, alone, "row {row} of {count}, backwards: {backwards}");
                }
            }
        }
    }
}
