//! The words that a setting may be: the names that the library's enums have in files, and the nearest one to a misspelt name.

use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor, value};
use serde_json::{Value, json};
use std::marker::PhantomData;

/// The name of one variant of `T`, without the variant's fields: those are settings of their own.
pub struct Word<T> {
    name: &'static str,
    of: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Word<T> {
    /// Returns the word if it names a variant.
    pub fn new(name: &str) -> Option<Self> {
        let name = names::<T>().iter().find(|n| **n == name)?;
        let of = PhantomData;
        Some(Self { name, of })
    }

    /// Returns the variant, with those of `fields` that it has.
    ///
    /// # Panics
    /// When `fields` lacks one of the variant's fields.
    pub fn with(self, fields: Value) -> T {
        serde_json::from_value(json!(self.name))
            .or_else(|_| serde_json::from_value(json!({ self.name: fields })))
            .expect("the fields of every variant are among those given")
    }
}

impl<T> Word<T> {
    /// Returns the name.
    pub fn name(self) -> &'static str {
        self.name
    }
}

impl<T> Clone for Word<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Word<T> {}

impl<T> PartialEq for Word<T> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl<T> std::fmt::Debug for Word<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Returns the names of an enum's variants as serde has them; empty for other types.
pub(super) fn names<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut names: &[&str] = &[];
    // It ends in an error by design: all that is wanted is what serde asks for.
    let _ = T::deserialize(Names(&mut names));
    names
}

/// A deserializer that holds no value and notes the names of the variants that it is asked for.
struct Names<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, value::Error> {
        Err(value::Error::custom("no value"))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, value::Error> {
        *self.0 = variants;
        Err(value::Error::custom("no value"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
