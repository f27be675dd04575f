//! An owned value, for callers that build or keep bencode instead of streaming it.

use crate::encode::Writer;
use std::collections::BTreeMap;

/// A value of its own. The map keeps keys sorted and unique, so that it has one encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// An integer.
    Integer(i64),
    /// A byte string.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Value>),
    /// A dictionary.
    Dict(BTreeMap<Vec<u8>, Value>),
}

impl Value {
    /// A byte string with the bytes of `text`.
    #[must_use]
    pub fn text(text: &str) -> Value {
        Value::Bytes(text.as_bytes().to_vec())
    }

    /// The canonical encoding (BEP 3). Recursion is as deep as the value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        self.write(&mut writer);
        writer.finish().unwrap_or_default()
    }

    /// Writes the value where `writer` stands.
    pub fn write(&self, writer: &mut Writer) {
        match self {
            Value::Integer(value) => _ = writer.integer(*value),
            Value::Bytes(bytes) => _ = writer.bytes(bytes),
            Value::List(elements) => {
                writer.list();
                elements.iter().for_each(|element| element.write(writer));
                writer.end();
            }
            Value::Dict(map) => {
                writer.dict();
                for (key, value) in map {
                    value.write(writer.key(key));
                }
                writer.end();
            }
        }
    }
}
