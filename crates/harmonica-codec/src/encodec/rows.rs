//! Memory for rows that layers hand on, used again and again.
//!
//! A vector that is cleared and resized is filled with zeros each time, which costs as much as some layers do; here only what was never used
//! before is filled.

use std::ops::{Deref, DerefMut};

/// Values that are appended at the end and taken away at the front.
#[derive(Debug, Clone, Default)]
pub(crate) struct RowBuffer {
    /// The first `used` values count.
    values: Vec<f32>,
    used: usize,
}

impl RowBuffer {
    /// Zeros, for a start.
    pub(crate) fn zeros(n: usize) -> Self {
        Self { values: vec![0.0; n], used: n }
    }

    /// Appends `n` values, which the caller has to write: they hold whatever they held.
    pub(crate) fn space(&mut self, n: usize) -> &mut [f32] {
        let start = self.used;
        self.used += n;
        if self.values.len() < self.used {
            self.values.resize(self.used, 0.0);
        }
        &mut self.values[start..self.used]
    }

    pub(crate) fn extend_from_slice(&mut self, rows: &[f32]) {
        self.space(rows.len()).copy_from_slice(rows);
    }

    /// Takes the first `n` values away.
    pub(crate) fn drop_front(&mut self, n: usize) {
        self.cut(0, n);
    }

    /// Takes `n` values away from `start`.
    pub(crate) fn cut(&mut self, start: usize, n: usize) {
        self.values.copy_within(start + n..self.used, start);
        self.used -= n;
    }

    /// Puts values before the others.
    pub(crate) fn put_front(&mut self, rows: &[f32]) {
        let n = self.used;
        self.space(rows.len());
        self.values.copy_within(..n, rows.len());
        self.values[..rows.len()].copy_from_slice(rows);
    }

    pub(crate) fn truncate(&mut self, n: usize) {
        self.used = self.used.min(n);
    }

    pub(crate) fn clear(&mut self) {
        self.used = 0;
    }
}

impl Deref for RowBuffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[..self.used]
    }
}

impl DerefMut for RowBuffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[..self.used]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_and_go_at_both_ends_and_memory_is_used_again() {
        let mut rows = RowBuffer::zeros(2);
        rows.extend_from_slice(&[1.0, 2.0, 3.0]);
        rows.drop_front(3);
        assert_eq!(*rows, [2.0, 3.0]);
        rows.put_front(&[7.0, 8.0, 9.0]);
        assert_eq!(*rows, [7.0, 8.0, 9.0, 2.0, 3.0]);
        rows.cut(1, 2);
        rows.truncate(2);
        assert_eq!(*rows, [7.0, 2.0]);
        rows.clear();
        assert!(rows.is_empty());
        rows.space(1).fill(4.0);
        assert_eq!(*rows, [4.0]);
    }
}
