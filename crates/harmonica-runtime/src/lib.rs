//! The one place where a backend has a name.
//!
//! In: `--device` as typed. Out: an open burn device and why it was chosen; what the processor is; the log; a tuned allocator.
//! Invariant: a device that was asked for and is not there is an error, never another device.

mod allocator;
mod device;
mod platform;
mod telemetry;

pub use allocator::tune_allocator;
pub use device::{DevicePreference, OpenDevice, RuntimeError, available_backends, open_device};
pub use platform::platform;
pub use telemetry::{hold_log, init_telemetry, release_log};
