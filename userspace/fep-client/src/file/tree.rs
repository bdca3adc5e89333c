// SPDX-License-Identifier: GPL-2.0

//! Values that know where they are in the text.

/// Deepest nesting that is read; a configuration has five levels.
pub(super) const DEPTH_MAX: usize = 32;

/// A value.
#[derive(Debug)]
pub(crate) struct Node {
    /// Offset of its first byte.
    pub(super) start: usize,
    /// The value.
    pub(super) value: Value,
}

/// What a value is.
#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    String(String),
    Array(Vec<Node>),
    Table(Vec<(Key, Node)>),
}

/// The key of a table's entry.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) start: usize,
    pub(super) name: String,
}

impl Node {
    /// The value of a key.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        match &self.value {
            Value::Table(entries) => {
                let mut entries = entries.iter();
                entries
                    .find(|(key, _)| key.name == name)
                    .map(|(_, node)| node)
            }
            _ => None,
        }
    }

    /// An element of an array.
    pub(super) fn index(&self, at: usize) -> Option<&Self> {
        match &self.value {
            Value::Array(nodes) => nodes.get(at),
            _ => None,
        }
    }
}
