//! The log: `tracing` events to stderr, filtered by `HARMONICA_LOG`.

/// Sends `tracing` events of at least `level` (or what `HARMONICA_LOG` says) to stderr. For binaries; a library never
/// calls it. A second call does nothing.
pub fn init_telemetry(level: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("HARMONICA_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(format!("warn,harmonica={level}")));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .without_time();
    // Fails only if a subscriber is installed already, which then stays in charge.
    let _ = subscriber.try_init();
}
