//! Keeps freed memory instead of handing every large tensor back to the kernel and faulting it in again.

/// Tunes glibc's allocator for tensors of a few megabytes that come and go: about a quarter of a training step's time.
/// Call it first thing in `main`; on other systems it does nothing. Freed memory stays with the process.
pub fn tune_allocator() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    tune_glibc();
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "mallopt has no safe binding; it only sets three limits")]
fn tune_glibc() {
    // SAFETY: mallopt takes plain integers and may be called at any time; a refused value leaves the default.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, -1);
        libc::mallopt(libc::M_TOP_PAD, 256 << 20);
    }
}
