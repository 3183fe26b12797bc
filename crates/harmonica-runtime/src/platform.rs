//! What a number may depend on besides the program: system and processor.
//!
//! In: nothing; out: one line for records. Invariant: one machine gives one line. Two machines with one line may still differ
//! in what no program can name, such as the system's mathematics library: the line explains a difference, it excludes none.

/// Architecture, system, and the instruction sets that kernels are chosen by, such as `x86_64-linux avx2 fma avx512f`.
pub fn platform() -> String {
    let system = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    let sets = instruction_sets().into_iter().filter_map(|(name, there)| there.then_some(name));
    std::iter::once(system.as_str()).chain(sets).collect::<Vec<_>>().join(" ")
}

#[cfg(target_arch = "x86_64")]
fn instruction_sets() -> Vec<(&'static str, bool)> {
    vec![
        ("avx", is_x86_feature_detected!("avx")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
    ]
}

#[cfg(target_arch = "aarch64")]
fn instruction_sets() -> Vec<(&'static str, bool)> {
    vec![
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("fp16", std::arch::is_aarch64_feature_detected!("fp16")),
    ]
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn instruction_sets() -> Vec<(&'static str, bool)> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_begins_with_architecture_and_system() {
        assert!(platform().starts_with(std::env::consts::ARCH) && platform().contains(std::env::consts::OS));
        assert_eq!(platform(), platform());
    }
}
