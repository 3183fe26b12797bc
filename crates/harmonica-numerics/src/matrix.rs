//! Small matrix products over strided slices: the one place in this crate with `unsafe`.

/// A matrix inside a slice: first element, rows, columns, and the steps between rows and columns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    pub(crate) start: usize,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) row_step: usize,
    pub(crate) column_step: usize,
}

impl View {
    /// `rows` of `columns` neighbouring elements, `row_step` apart.
    pub(crate) fn rows(start: usize, rows: usize, columns: usize, row_step: usize) -> Self {
        Self { start, rows, columns, row_step, column_step: 1 }
    }

    pub(crate) fn transposed(self) -> Self {
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
pub(crate) fn multiply(scale: f32, a: (&[f32], View), b: (&[f32], View), out: (&mut [f32], View)) {
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
