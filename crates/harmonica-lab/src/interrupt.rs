//! Signals that ask a long command to stop where nothing is lost.
//!
//! In: SIGINT, SIGTERM and, on Unix, SIGUSR1 (what batch systems send before they take a machine away). Out: a flag that the
//! command asks at its boundaries. Invariant: the first signal never ends the process, a second one of any kind does at once.

use crate::failure::Failure;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Exit code of a command that was asked to stop.
pub(crate) const INTERRUPTED: u8 = 130;

/// Whether, and by which signal, the process was asked to stop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt {
    signal: Arc<AtomicUsize>,
}

impl Interrupt {
    /// Listens from now on.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let this = Self::default();
        let asked = Arc::new(AtomicBool::new(false));
        #[cfg(unix)]
        let signals = [SIGINT, SIGTERM, signal_hook::consts::SIGUSR1];
        #[cfg(not(unix))]
        let signals = [SIGINT, SIGTERM];
        for signal in signals {
            // In this order: the signal that sets the flag does not see it set.
            flag::register_conditional_shutdown(signal, i32::from(INTERRUPTED), Arc::clone(&asked))
                .and_then(|_| flag::register_usize(signal, Arc::clone(&this.signal), signal as usize))
                .and_then(|_| flag::register(signal, Arc::clone(&asked)))
                .map_err(|e| Failure::error(format!("cannot listen for signal {signal}: {e}")))?;
        }
        Ok(this)
    }

    /// Name of the signal that asked, if one did.
    pub(crate) fn signal(&self) -> Option<&'static str> {
        match self.signal.load(Ordering::SeqCst) {
            0 => None,
            signal if signal == SIGINT as usize => Some("SIGINT"),
            signal if signal == SIGTERM as usize => Some("SIGTERM"),
            _ => Some("SIGUSR1"),
        }
    }
}
