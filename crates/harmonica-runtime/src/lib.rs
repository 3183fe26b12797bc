//! The one place where a backend has a name.
//!
//! In: `--device` as typed. Out: an open burn device and why it was chosen; the log; a tuned allocator.
//! Invariant: a device that was asked for and is not there is an error, never another device.

mod allocator;
mod device;
mod telemetry;

pub use allocator::tune_allocator;
pub use device::{DevicePreference, OpenDevice, RuntimeError, available_backends, open_device};
pub use telemetry::init_telemetry;
