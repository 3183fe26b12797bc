//! What the fuzz targets share.
//!
//! A target takes bytes and ends normally, whatever they are; a panic in it is a finding. Inputs that stand for several files
//! are their contents joined by [`SEPARATOR`]. Invariant: a target writes no file and reads none.

/// Between the files of one input.
pub const SEPARATOR: &[u8] = b"\n%%\n";

/// The `N` files of an input; missing ones are empty, further separators belong to the last one.
pub fn files<const N: usize>(data: &[u8]) -> [&[u8]; N] {
    let mut rest = Some(data);
    std::array::from_fn(|i| {
        let all = rest.unwrap_or_default();
        let at = all.windows(SEPARATOR.len()).position(|window| window == SEPARATOR);
        match at.filter(|_| i + 1 < N) {
            Some(at) => {
                rest = Some(&all[at + SEPARATOR.len()..]);
                &all[..at]
            }
            None => {
                rest = None;
                all
            }
        }
    })
}
