// SPDX-License-Identifier: GPL-2.0

//! JSON to a tree.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::tree::{Key, Node, Value, DEPTH_MAX};
use super::Mistake;

/// Reads a JSON text.
pub(super) fn parse(text: &str) -> Result<Node, Mistake> {
    // The whole text first: the position of a mistake in its syntax is then that in the text.
    let value: &RawValue = serde_json::from_str(text)
        .map_err(|error| Mistake::at(offset_of(text, &error), without_position(&error)))?;
    Reader { text }.node(value.get(), 0)
}

struct Reader<'a> {
    text: &'a str,
}

impl<'a> Reader<'a> {
    /// The offset of a part of the text.
    fn offset(&self, part: &str) -> usize {
        let start = self.text.as_ptr().addr();
        part.as_ptr()
            .addr()
            .checked_sub(start)
            .filter(|offset| *offset <= self.text.len())
            .unwrap_or(0)
    }

    fn node(&self, part: &'a str, depth: usize) -> Result<Node, Mistake> {
        let start = self.offset(part);
        let mistake = |error: serde_json::Error| Mistake::at(start, without_position(&error));
        if depth > DEPTH_MAX {
            return Err(Mistake::at(start, "nested too deeply"));
        }
        let value = match part.as_bytes().first() {
            Some(b'{') => {
                let Object(entries) = serde_json::from_str(part).map_err(mistake)?;
                Value::Table(self.entries(entries, start, depth)?)
            }
            Some(b'[') => {
                let parts: Vec<&RawValue> = serde_json::from_str(part).map_err(mistake)?;
                let nodes = parts.iter().map(|part| self.node(part.get(), depth + 1));
                Value::Array(nodes.collect::<Result<_, _>>()?)
            }
            Some(b'"') => Value::String(serde_json::from_str(part).map_err(mistake)?),
            Some(b't') => Value::Bool(true),
            Some(b'f') => Value::Bool(false),
            Some(b'n') => Value::Null,
            _ => match part.parse() {
                Ok(integer) => Value::Integer(integer),
                Err(_) => Value::Float(serde_json::from_str(part).map_err(mistake)?),
            },
        };
        Ok(Node { start, value })
    }

    fn entries(
        &self,
        parts: Vec<(Cow<'a, str>, &'a RawValue)>,
        start: usize,
        depth: usize,
    ) -> Result<Vec<(Key, Node)>, Mistake> {
        let mut entries: Vec<(Key, Node)> = Vec::with_capacity(parts.len());
        for (name, part) in parts {
            let node = self.node(part.get(), depth + 1)?;
            let key = match &name {
                // Within the text: the quotation mark before it.
                Cow::Borrowed(name) => self.offset(name).saturating_sub(1),
                Cow::Owned(_) => start,
            };
            if entries.iter().any(|(key, _)| key.name == *name) {
                return Err(Mistake::at(key, format!("duplicate key `{name}`")));
            }
            let name = name.into_owned();
            entries.push((Key { start: key, name }, node));
        }
        Ok(entries)
    }
}

/// The entries of an object, in their order.
struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// A string that is a part of the text where it can be.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some((Text(name), value)) = map.next_entry()? {
                    entries.push((name, value));
                }
                Ok(Object(entries))
            }
        }
        from.deserialize_map(Entries)
    }
}

/// The offset of an error: serde_json counts lines from 1, and columns in bytes.
fn offset_of(text: &str, error: &serde_json::Error) -> usize {
    let lines = text
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1));
    let line: usize = lines.map(str::len).sum();
    let mut offset = (line + error.column().saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

/// The text of an error without the position at its end.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((message, _)) => message.to_owned(),
        None => text,
    }
}
