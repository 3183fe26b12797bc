//! Matrix products over strided slices, by one thread.

/// A matrix inside a slice: first element, rows, columns, and the steps between rows and columns.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// First element.
    pub start: usize,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// Elements from a row to the next.
    pub row_step: usize,
    /// Elements from a column to the next.
    pub column_step: usize,
}

impl View {
    /// `rows` of `columns` neighbouring elements, `row_step` apart.
    pub fn rows(start: usize, rows: usize, columns: usize, row_step: usize) -> Self {
        Self { start, rows, columns, row_step, column_step: 1 }
    }

    /// The same elements with rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_step: self.column_step,
            column_step: self.row_step,
            ..self
        }
    }

    fn fits(&self, length: usize) -> bool {
        self.rows == 0
            || self.columns == 0
            || self.start + (self.rows - 1) * self.row_step + (self.columns - 1) * self.column_step < length
    }
}

/// `out = scale * a b`.
///
/// # Panics
/// If the shapes do not match or a view leaves its slice.
#[expect(
    unsafe_code,
    reason = "gemm is a raw-pointer interface; every view is checked against its slice first"
)]
pub fn multiply(scale: f32, a: (&[f32], View), b: (&[f32], View), out: (&mut [f32], View)) {
    let ((a, av), (b, bv), (out, ov)) = (a, b, out);
    assert!(av.columns == bv.rows && av.rows == ov.rows && bv.columns == ov.columns, "matrix shapes differ");
    assert!(av.fits(a.len()) && bv.fits(b.len()) && ov.fits(out.len()), "a matrix leaves its slice");
    if ov.rows == 0 || ov.columns == 0 {
        return;
    }
    // SAFETY: the views lie inside their slices, and `out` is borrowed mutably, so it overlaps neither operand.
    unsafe {
        gemm::gemm(
            ov.rows,
            ov.columns,
            av.columns,
            out.as_mut_ptr().add(ov.start),
            ov.column_step as isize,
            ov.row_step as isize,
            false,
            a.as_ptr().add(av.start),
            av.column_step as isize,
            av.row_step as isize,
            b.as_ptr().add(bv.start),
            bv.column_step as isize,
            bv.row_step as isize,
            0.0,
            scale,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposed_and_strided_operands_multiply() {
        // [[1, 2, 3], [4, 5, 6]] in rows of four, times the transposed of itself.
        let a = [1.0, 2.0, 3.0, 9.0, 4.0, 5.0, 6.0, 9.0];
        let view = View::rows(0, 2, 3, 4);
        let mut out = [0.0; 5];
        multiply(2.0, (&a, view), (&a, view.transposed()), (&mut out, View::rows(1, 2, 2, 2)));
        assert_eq!(out, [0.0, 28.0, 64.0, 64.0, 154.0]);
    }

    #[test]
    fn a_view_beyond_its_slice_is_refused() {
        let refused = std::panic::catch_unwind(|| {
            let mut out = [0.0; 4];
            multiply(
                1.0,
                (&[1.0; 3], View::rows(0, 2, 2, 2)),
                (&[1.0; 4], View::rows(0, 2, 2, 2)),
                (&mut out, View::rows(0, 2, 2, 2)),
            );
        });
        let panic = refused.unwrap_err();
        let words =
            panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        assert!(words.is_some_and(|words| words.contains("leaves its slice")), "{words:?}");
    }
}
