//! How a setting's type goes to and from the plain [`Value`] that flags, files and C options carry.

use super::choices::{
    Adapt, BaselineChoice, Controls, Predictive, Preset, PriorCenter, PriorUnit, SamplerChoice,
    Starts,
};
use super::row::{Kind, Value};
use super::words::{Word, names};
use crate::backend::{Precision, WeightType};
use crate::data::Order;
use crate::generate::{ContextOverflow, Mode};
use crate::gpt::{Gelu, Objective};
use crate::samplers::{CovarianceStructure, CurvatureKind, NoiseCorrection, Thermostats};
use crate::store::Dtype;
use serde::de::DeserializeOwned;
use std::path::PathBuf;

/// A type that a setting may have.
pub trait Typed: Sized + Clone {
    /// The kind of its values.
    const KIND: Kind;

    /// Returns the words that it may be; none for numbers and texts.
    fn words() -> Vec<&'static str> {
        Vec::new()
    }

    /// Returns the value as this type, if it is of the kind and fits.
    fn read(value: &Value) -> Option<Self>;

    /// Returns this as a plain value.
    fn show(&self) -> Value;
}

/// A field of [`super::Settings`]: a value that is always there, or one that may be left to the place where it is used.
pub trait Field: Sized {
    /// The type of a given value.
    type Inner: Typed;

    /// Makes the field of a given value.
    fn wrap(inner: Self::Inner) -> Self;

    /// Returns the field without a value, where there is such a one.
    fn absent() -> Option<Self>;

    /// Returns the value, if there is one.
    fn inner(&self) -> Option<Self::Inner>;
}

impl<T: Typed> Field for T {
    type Inner = T;

    fn wrap(inner: T) -> T {
        inner
    }

    fn absent() -> Option<T> {
        None
    }

    fn inner(&self) -> Option<T> {
        Some(self.clone())
    }
}

impl<T: Typed> Field for Option<T> {
    type Inner = T;

    fn wrap(inner: T) -> Self {
        Some(inner)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn inner(&self) -> Option<T> {
        self.clone()
    }
}

impl Typed for bool {
    const KIND: Kind = Kind::Bool;

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(v) => Some(*v),
            _ => None,
        }
    }

    fn show(&self) -> Value {
        Value::Bool(*self)
    }
}

impl Typed for f64 {
    const KIND: Kind = Kind::F64;

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::F64(v) => Some(*v),
            _ => None,
        }
    }

    fn show(&self) -> Value {
        Value::F64(*self)
    }
}

impl Typed for f32 {
    const KIND: Kind = Kind::F64;

    fn read(value: &Value) -> Option<Self> {
        f64::read(value).map(|v| v as f32)
    }

    /// Writes the shortest decimal that is this number, so that 0.1 stays 0.1.
    fn show(&self) -> Value {
        Value::F64(self.to_string().parse().unwrap_or(f64::from(*self)))
    }
}

macro_rules! whole_numbers {
    ($($type:ty),+) => {$(
        impl Typed for $type {
            const KIND: Kind = Kind::U64;

            fn read(value: &Value) -> Option<Self> {
                match value {
                    Value::U64(v) => <$type>::try_from(*v).ok(),
                    _ => None,
                }
            }

            fn show(&self) -> Value {
                Value::U64(*self as u64)
            }
        }
    )+};
}

whole_numbers!(u64, u32, usize);

impl Typed for String {
    const KIND: Kind = Kind::Text;

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Text(v) => Some(v.clone()),
            _ => None,
        }
    }

    fn show(&self) -> Value {
        Value::Text(self.clone())
    }
}

impl Typed for PathBuf {
    const KIND: Kind = Kind::Path;

    fn read(value: &Value) -> Option<Self> {
        String::read(value).map(Self::from)
    }

    fn show(&self) -> Value {
        Value::Text(self.to_string_lossy().into_owned())
    }
}

impl Typed for Vec<String> {
    const KIND: Kind = Kind::List;

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::List(v) => Some(v.clone()),
            _ => None,
        }
    }

    fn show(&self) -> Value {
        Value::List(self.clone())
    }
}

impl<T: DeserializeOwned> Typed for Word<T> {
    const KIND: Kind = Kind::Text;

    fn words() -> Vec<&'static str> {
        names::<T>().to_vec()
    }

    fn read(value: &Value) -> Option<Self> {
        Self::new(&String::read(value)?)
    }

    fn show(&self) -> Value {
        Value::Text(self.name().into())
    }
}

impl Typed for SamplerChoice {
    const KIND: Kind = Kind::Text;

    fn words() -> Vec<&'static str> {
        Self::all().map(Self::name).collect()
    }

    fn read(value: &Value) -> Option<Self> {
        Self::try_from(String::read(value)?).ok()
    }

    fn show(&self) -> Value {
        Value::Text(self.name().into())
    }
}

macro_rules! enums {
    ($($type:ty),+ $(,)?) => {$(
        impl Typed for $type {
            const KIND: Kind = Kind::Text;

            fn words() -> Vec<&'static str> {
                names::<$type>().to_vec()
            }

            fn read(value: &Value) -> Option<Self> {
                serde_json::from_value(String::read(value)?.into()).ok()
            }

            fn show(&self) -> Value {
                let name = serde_json::to_value(self).ok();
                Value::Text(name.as_ref().and_then(|n| n.as_str()).unwrap_or_default().into())
            }
        }
    )+};
}

enums!(
    Adapt,
    BaselineChoice,
    Controls,
    ContextOverflow,
    Dtype,
    Gelu,
    CurvatureKind,
    Mode,
    NoiseCorrection,
    Objective,
    Order,
    Precision,
    Predictive,
    Preset,
    PriorCenter,
    PriorUnit,
    Starts,
    CovarianceStructure,
    Thermostats,
    WeightType,
);
