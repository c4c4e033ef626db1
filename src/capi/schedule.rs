//! A caller's own schedule: a callback before each step.

use super::guard::call_back;
use crate::error::Error;
use crate::samplers::Factors;
use std::ffi::c_void;

/// Called before each step on the calling thread; 0 stops the step, which then returns BNN_ERR_INTERRUPTED and changes nothing, anything
/// else goes on.
///
/// step: which step of the run this is, counted from 0, as bnn_sampler_report has it. step_size_factor, temperature_factor: 1 at the call;
/// the callback writes what the options' step_size (above 0) and temperature (0 or more) are multiplied by. A call into the same sampler
/// from inside returns BNN_ERR_BUSY; freeing it there is fine.
pub type bnn_schedule_callback = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        step: u64,
        step_size_factor: *mut f64,
        temperature_factor: *mut f64,
    ) -> i32,
>;

/// The callback that was set, with its pointer.
#[derive(Clone, Copy)]
pub(super) struct ScheduleOf {
    callback: bnn_schedule_callback,
    user_data: *mut c_void,
}

// SAFETY: the pointer is never followed here, only handed back to the caller's function on the thread that calls a step; what may be moved
// between threads is the caller's own business, as with the handle itself.
unsafe impl Send for ScheduleOf {}

impl ScheduleOf {
    pub const NONE: Self = Self {
        callback: None,
        user_data: std::ptr::null_mut(),
    };

    pub fn new(callback: bnn_schedule_callback, user_data: *mut c_void) -> Self {
        Self {
            callback,
            user_data,
        }
    }

    pub fn is_set(&self) -> bool {
        self.callback.is_some()
    }

    /// Returns the factors of a step; `None` without a callback.
    pub fn at(&self, step: u64) -> Result<Option<Factors>, Error> {
        let Some(callback) = self.callback else {
            return Ok(None);
        };
        let (mut step_size, mut temperature) = (1.0, 1.0);
        // SAFETY: the function and its pointer are the caller's; the two numbers live through the call.
        let on = call_back(|| unsafe {
            callback(self.user_data, step, &mut step_size, &mut temperature)
        });
        match on {
            0 => Err(Error::Interrupted),
            _ => Ok(Some(Factors {
                step_size,
                temperature,
            })),
        }
    }
}
