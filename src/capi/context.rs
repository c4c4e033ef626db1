//! bnn_context: the device and its threads.

use super::guard::guard;
use super::pointer::{Handle, get, hand_out, out, take_back};
use super::report::{bnn_report, report_of};
use super::status::{bnn_error, bnn_status};
use super::version::{BNN_ABI, BNN_ABI_MINOR};
use crate::backend::Device;
use crate::inference::Report;

/// A device with its thread pool. Shareable between threads. Children keep it alive.
pub struct bnn_context {
    pub(super) device: Device,
}

impl Handle for bnn_context {
    const NAME: &str = "bnn_context";

    fn device(&self) -> Option<&Device> {
        Some(&self.device)
    }
}

/// Makes a context on the CPU.
///
/// [in] threads: 0 takes as many as the machine has. [out] context: to be freed with bnn_context_free.
/// Errors: BNN_ERR_INVALID above 1024 threads, BNN_ERR_UNSUPPORTED when they cannot be started.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_context_new(
    threads: usize,
    context: *mut *mut bnn_context,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        let device = Device::cpu(threads)?;
        // SAFETY: `context` is NULL or the caller's to write.
        unsafe { hand_out(context, bnn_context { device }, "context") }
    })
}

/// Frees a context; NULL is fine. What was made in it goes on working.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_context_free(context: *mut bnn_context) {
    // SAFETY: the caller passes NULL or a handle from bnn_context_new, once.
    unsafe { take_back(context) }
}

/// Gives how many threads compute. [out] threads.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_context_threads(
    context: *const bnn_context,
    threads: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (context, threads) = unsafe { (get(context, "context")?, out(threads, "threads")?) };
        threads.write(context.device.threads());
        Ok(())
    })
}

/// Says what computes, and how the library was built. [out] report: version; abi; abi_minor; threads; instructions, that kernels are chosen for; target;
/// profile; compiler; features, of the crate, separated by ", ".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_context_info(
    context: *const bnn_context,
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (context, mut report) = unsafe { (get(context, "context")?, report_of(report)?) };
        let features = if cfg!(feature = "cli") { "cli" } else { "" };
        *report = Report::new()
            .row("version", env!("CARGO_PKG_VERSION"), "of the library")
            .row("abi", BNN_ABI, "BNN_ABI of the library")
            .row("abi_minor", BNN_ABI_MINOR, "BNN_ABI_MINOR of the library")
            .row("threads", context.device.threads(), "that compute")
            .row(
                "instructions",
                context.device.instructions(),
                "that kernels are chosen for",
            )
            .row("target", env!("BNN_TARGET"), "that it was built for")
            .row("profile", env!("BNN_PROFILE"), "that it was built with")
            .row("compiler", env!("BNN_RUSTC"), "that built it")
            .row("features", features, "of the crate");
        Ok(())
    })
}
