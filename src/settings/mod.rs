//! Every setting once: name, type, default, range, meaning, and who reads it.
//!
//! [`TABLE`] is the one list. Flags, TOML files, C options, `docs/settings.md` and the record in a run's folder are made from it. [`Given`] holds
//! what somebody set, [`Settings`] every value; the configurations of the library's objects are filled from the latter, in one place.

mod check;
mod choices;
mod defaults;
mod describe;
mod objects;
mod purpose;
mod resolve;
mod row;
mod table;
mod typed;
mod without_effect;
mod words;

pub use choices::{
    Adapt, BaselineChoice, Controls, Predictive, Preset, PriorCenter, PriorUnit, SamplerChoice,
    Starts,
};
pub use defaults::{Case, TargetKind};
pub use describe::{default_text, markdown};
pub use purpose::Purpose;
pub use resolve::row;
pub use row::{Group, Kind, Range, Reader, Row, Value};
pub use table::{Given, Settings, TABLE};
pub use without_effect::Unread;
pub use words::Word;
