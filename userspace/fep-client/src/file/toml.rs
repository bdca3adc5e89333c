// SPDX-License-Identifier: GPL-2.0

//! TOML to a tree.

use toml::de::{DeTable, DeValue};
use toml::Spanned;

use super::tree::{Key, Node, Value, DEPTH_MAX};
use super::Mistake;

/// Reads a TOML text.
pub(super) fn parse(text: &str) -> Result<Node, Mistake> {
    let table = DeTable::parse(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        Mistake::at(offset, error.message())
    })?;
    Ok(Node {
        start: 0,
        value: entries(table.get_ref(), 0)?,
    })
}

fn entries(table: &DeTable<'_>, depth: usize) -> Result<Value, Mistake> {
    let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let name: &std::borrow::Cow<'_, str> = key.get_ref();
        let key = Key {
            start: key.span().start,
            name: name.clone().into_owned(),
        };
        Ok((key, node(value, depth + 1)?))
    };
    table
        .iter()
        .map(entry)
        .collect::<Result<_, _>>()
        .map(Value::Table)
}

fn node(value: &Spanned<DeValue<'_>>, depth: usize) -> Result<Node, Mistake> {
    let start = value.span().start;
    if depth > DEPTH_MAX {
        return Err(Mistake::at(start, "nested too deeply"));
    }
    let value = match value.get_ref() {
        DeValue::String(text) => Value::String(text.clone().into_owned()),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Integer(integer) => i128::from_str_radix(integer.as_str(), integer.radix())
            .map(Value::Integer)
            .map_err(|_| Mistake::at(start, "the integer is out of range"))?,
        DeValue::Float(float) => float
            .as_str()
            .parse()
            .map(Value::Float)
            .map_err(|_| Mistake::at(start, "the number is out of range"))?,
        DeValue::Datetime(_) => return Err(Mistake::at(start, "a date means nothing here")),
        DeValue::Array(values) => {
            let nodes = values.iter().map(|value| node(value, depth + 1));
            Value::Array(nodes.collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => entries(table, depth)?,
    };
    Ok(Node { start, value })
}
